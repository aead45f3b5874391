"""More small errors for `tests.mutants`: in layers, models, optimizers and the inference plan. Each entry names the
file below tinyfer/, what is wrong, the text that is replaced (it occurs once), and the tests that must notice."""

_LAYERS, _MODELS = "tests/test_layers.py::test_", "tests/test_models.py::test_"
_OPTIM, _INFER = "tests/test_optim.py::test_", "tests/test_infer.py::test_"


def _mutant(file: str, what: str, old: str, new: str, *tests: str) -> dict:
    return dict(file=file, what=what, old=old, new=new, tests=tests)


MUTANTS = [
    _mutant("layers.py", "BatchNorm2d: keeps the live statistics",
            "mean, var = self.running_mean.copy(), self.running_var.copy()",
            "mean, var = self.running_mean, self.running_var",
            _LAYERS + "kept_statistics_are_not_the_live_ones"),
    _mutant("layers.py", "Dropout: keeps what it should drop",
            "self.rng.random(x.shape, np.float32) >= self.p", "self.rng.random(x.shape, np.float32) < self.p",
            _LAYERS + "dropout_uses_its_mask_again_backward_and_draws_a_new_one_forward"),
    _mutant("layers.py", "he_normal: half the variance",
            "np.sqrt(2 / np.prod(shape[:-1])", "np.sqrt(1 / np.prod(shape[:-1])",
            _LAYERS + "he_normal_keeps_the_spread_of_activations"),
    _mutant("layers.py", "remember: an old batch stays",
            "self._kept = values if keep else None", "self._kept = values if keep else self._kept",
            _LAYERS + "an_evaluation_in_between_makes_backward_refuse_rather_than_use_old_activations"),
    _mutant("layers.py", "ConvBlock: the other order", '{"bn": bn, "relu": relu} if order',
            '{"relu": relu, "bn": bn} if order', _LAYERS + "a_block_runs_in_its_order"),
    _mutant("layers.py", "Param: everything decays", "return self.value.ndim > 1", "return True",
            _OPTIM + "decay_touches_matrices_alone"),
    _mutant("layers.py", "Dense: the classifier starts at random", "if zero else he_normal(rng, (d_in, d_out))",
            "if False else he_normal(rng, (d_in, d_out))", _MODELS + "loss_at_start_is_ln_7"),
    _mutant("models.py", "Params: vectors first", "key=lambda p: not p.decays", "key=lambda p: p.decays",
            _MODELS + "parameters_are_views_into_two_flat_arrays_decayed_first"),
    _mutant("models.py", "Model: each dropout draws the same masks", 'self.rng = seeds.generator(0, "dropout")', "pass",
            _MODELS + "all_dropouts_draw_from_the_models_one_generator"),
    _mutant("models.py", "save: halves vectors too", "a.astype(np.float16) if half and a.ndim > 1 else a",
            "a.astype(np.float16) if half else a",
            _MODELS + "half_a_file_holds_matrices_as_float16_and_is_float32_again_when_loaded"),
    _mutant("models.py", "load: builds whatever a file asks for", "        if self.left < 0:\n", "        if False:\n",
            _MODELS + "a_file_with_other_weights_or_of_another_kind_is_one_sentence"),
    _mutant("optim.py", "Adam: writes the decay into the gradient", "grad = grad + np.float32(decay) * value",
            "grad += np.float32(decay) * value", _OPTIM + "twenty_steps_by_the_book"),
    _mutant("optim.py", "schedule: the warm-up starts at nothing", "lr * (step_number + 1) / warmup_steps",
            "lr * step_number / warmup_steps", _OPTIM + "warm_up_is_linear_and_then_the_rate_only_falls"),
    _mutant("optim.py", "EMA: a long memory from the start", "self.n / (self.n + 10)", "self.decay",
            _OPTIM + "the_average_has_a_short_memory_at_the_start_and_covers_the_statistics"),
    _mutant("optim.py", "EMA: forgets the running statistics", '{"value": model.params.value} | model.buffers()',
            '{"value": model.params.value}',
            _OPTIM + "the_average_has_a_short_memory_at_the_start_and_covers_the_statistics"),
    _mutant("infer.py", "fold: the bias is not scaled",
            "(bias - norm.running_mean.astype(np.float64)) * scale",
            "bias - norm.running_mean.astype(np.float64) * scale",
            _INFER + "folding_tiny_variances_and_large_means_stays_right"),
    _mutant("infer.py", "fold: without eps", "np.sqrt(norm.running_var.astype(np.float64) + norm.eps)",
            "np.sqrt(norm.running_var.astype(np.float64) + 0)",
            _INFER + "folding_tiny_variances_and_large_means_stays_right"),
    _mutant("infer.py", "Plan: shares the model's weights", "return layer.weight.value.copy()",
            "return layer.weight.value", _INFER + "a_plan_holds_copies"),
    _mutant("infer.py", "Plan: shares the model's norms", "layer.frozen().forward", "layer.forward",
            _INFER + "a_plan_holds_copies"),
]
