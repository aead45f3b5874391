"""More small errors for `tests.mutants`: in the fused runs and under them, down to the register tiles. Each entry names
the file below tinyfer/kernels/, what is wrong, the text that is replaced (it occurs once), and the tests that must
notice: those that compile least, because every edit of a kernel's source empties the cache of kernels."""

_FUSED, _WINOGRAD = "tests/test_fused.py::test_", "tests/test_winograd.py::test_"
_STEP, _ANSWER = _FUSED + "fused_equals_spelled_out", _FUSED + "a_frozen_run_answers_like_the_spelled_out_one"
_PIECES = _FUSED + "pieces_make_a_whole"
_BITS = _FUSED + "bits_depend_on_no_number_of_workers_and_on_no_step_before"
_AT_ONCE = _FUSED + "all_tiles_at_once_or_in_blocks_are_the_same_bits"
_NAN = _FUSED + "a_frozen_run_keeps_a_nan_and_keeps_it_to_its_picture"
_HEAD = _FUSED + "a_head_is_the_mean_of_each_map_and_a_dense_layer"
_FAR = _FUSED + "a_channel_far_from_zero_keeps_its_spread"
_MASK, _POOL = _FUSED + "the_mask_of_the_last_relu", _FUSED + "pooling_raw_values_takes_the_first_of_equals_and_any_nan"
_PRODUCTS = _WINOGRAD + "products_of_every_number_of_rows_and_stretches"
_FILTERS = _WINOGRAD + "filters_are_transformed_there_and_back"
_TABLE = _WINOGRAD + "a_tile_table_says_where_each_pixel_lies"


def _mutant(file: str, what: str, old: str, new: str, *tests: str, compiled: bool = True) -> dict:
    return dict(file=f"kernels/{file}.py", what=what, old=old, new=new, tests=tests, compiled=compiled)


def _plain(*entry: str) -> dict:
    return _mutant(*entry, compiled=False)


MUTANTS = [
    # vectors
    _mutant("simd", "read_tile: a deferred ReLU cuts a NaN off", 'fcmp_ordered("<", z, zero)',
            'fcmp_unordered("<", z, zero)', _NAN + "[two blocks]"),
    _mutant("simd", "read_tile: a neighbour where zeros should be",
            'return emit.keep(value, entry("inside", position))', "return value", _ANSWER + "[one tile-None]"),
    _mutant("simd", "read_tile: gradient to all four of a pool", "builder.select(won, emit.load(pa, there), zero)",
            "emit.load(pa, there)", _STEP + "[tiny map]"),
    _mutant("simd", "read_tile: B for B^T", "at.T if len(matrix) else bt", "at.T if len(matrix) else bt.T",
            _ANSWER + "[one tile-None]"),
    _mutant("simd", "transform_tile: rows and columns exchanged",
            "builder.add(emit.times(row, i), emit.times(column, j))",
            "builder.add(emit.times(row, j), emit.times(column, i))", _FILTERS + "[matrix0-there-4-3]"),
    _mutant("simd", "transform_tile: a pair of rows without its factor", "emit.constant(sign * factor), even)",
            "emit.constant(sign), even)", _FILTERS + "[matrix0-there-4-3]"),
    _mutant("simd", "finish_pixels: gradient passes where the ReLU is at 0", 'fcmp_ordered("<=", emit.fma(',
            'fcmp_ordered("<", emit.fma(', _MASK),
    _mutant("simd", "finish_pixels: second sum around 0", "add(slots[1], value, builder.fsub(below, pivot))",
            "add(slots[1], value, below)", _MASK),
    _mutant("simd", "gemm_tile: always adds", "builder.or_(emit.flag(13), later)", "builder.or_(emit.flag(12), later)",
            _PRODUCTS),
    _mutant("simd", "gemm_tile: of a long sum only the end", "builder.or_(emit.flag(13), later)", "emit.flag(13)",
            _PRODUCTS),
    _plain("simd", "winograd_matrices: the usual points", "6: (0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)",
           "6: (0, 1, -1, 2, -2)", _WINOGRAD + "rounding_errors_beside_direct_convolution[4-3]"),
    _plain("simd", "winograd_matrices: a sign lost in G", "/ np.prod(point - others)", "/ abs(np.prod(point - others))",
           _WINOGRAD + "the_matrices_make_a_convolution"),
    # products
    _mutant("gemm", "columns: the last pair of rows", "while i + 2 <= m:", "while i + 2 < m:", _PRODUCTS),
    _mutant("tiles", "multiply: the last stretch alone", "min(STRETCH, depth - k), add or k > 0)",
            "min(STRETCH, depth - k), add)", _PRODUCTS),
    _mutant("winograd", "add_products: a panel for each group, no more",
            "group * panels // groups, (group + 1) * panels // groups", "group, group + 1", _PRODUCTS),
    # reading and writing of tiles
    _mutant("tiles", "read_tiles: one panel over the other", "out0 + c // panel * apart + (t - first)",
            "out0 + (t - first)", _STEP + "[odd map]"),
    _mutant("tiles", "write_tiles: every block around the first one's pivot", "own_pivot = 1 if summing else 0",
            "own_pivot = 0", _FAR + "[16]"),
    _mutant("tiles", "write_tiles: no pivot", "outputs + k + lane] = buffer[lane]", "outputs + k + lane] = 0",
            _FAR + "[16]"),
    _mutant("tiles", "write_tiles: sums go on from the step before", "sums[row * 2 * outputs + k] = 0",
            "sums[row * 2 * outputs + k] *= 1", _BITS + "[pool between]"),
    _mutant("tiles", "write_tiles: the picture's last column left out", "min(m, width - left),",
            "min(m, width - left - 1),", _ANSWER + "[one tile-None]"),
    _mutant("tiles", "finish: every band around the first one's pivot", "own_pivot = 1 if epilogue == SUM else 0",
            "own_pivot = 0", _FAR + "[1]"),
    _plain("winograd", "tile_table: a column more inside", "(x < width)", "(x <= width)", _TABLE),
    _plain("winograd", "tile_table: an odd last column in a pool", "& (x // 2 < width // 2)", "", _TABLE),
    _mutant("winograd", "flip_weights: does not flip", "(taps - 1 - t) * c_out", "t * c_out",
            _FUSED + "flipped_weights_have_their_taps_reversed_and_channels_exchanged"),
    _mutant("winograd", "flip_weights: channels not exchanged", "* c_out + k) * c_in + c] = w",
            "* c_in + c) * c_out + k] = w",
            _FUSED + "flipped_weights_have_their_taps_reversed_and_channels_exchanged"),
    _mutant("winograd", "convolve: the last, short block left out", "blocks = (count + block - 1) // block",
            "blocks = max(count // block, 1)", _FAR + "[16]"),
    _mutant("winograd", "convolve_at_once: every worker writes the first tiles", "products[first * outputs:]",
            "products[0:]", _AT_ONCE + "[vgg stage]"),
    _mutant("winograd", "convolve_at_once: one panel's weights for all", "u, (f * outputs + j * panel) * channels,",
            "u, f * outputs * channels,", _AT_ONCE + "[odd map]"),
    _mutant("winograd", "read_chunk: the first chunk's gradient for all",
            "(dy_source, a_size, b_size, origin + first, origin + last,", "(dy_source, a_size, b_size, first, last,",
            _PIECES),
    _mutant("ends", "average_head: the first picture's maps for all", "range(picture * pixels, (picture + 1) * pixels)",
            "range(pixels)", _HEAD + "[two blocks]"),
    _mutant("ends", "average_head: no ReLU", "mean[c] += a.dtype.type(0) if z < 0 else z", "mean[c] += z",
            _HEAD + "[two blocks]"),
    _mutant("ends", "average_head: a NaN is cut off", "mean[c] += a.dtype.type(0) if z < 0 else z",
            "mean[c] += z if z > 0 else a.dtype.type(0)", _NAN + "[first layer, pooled]"),
    _mutant("ends", "average_head: no bias", "answer[k] + b[k]", "answer[k]", _HEAD + "[two blocks]"),
    # the books of a run
    _plain("schemes", "TINYFER_WINOGRAD ignored", "return (int(forced),)", "return 4, 3",
           _WINOGRAD + "one_tile_size_can_be_forced"),
    _mutant("fused", "blocks cut by the number of threads", "self.block = block_tiles(self.frequencies, channels,",
            "self.block = -(-n * self.tiles // numba.get_num_threads()) or block_tiles(self.frequencies, channels,",
            _BITS + "[pool between]"),
    _mutant("schemes", "bands cut by the number of threads", "min(height, 16 // n)",
            "min(height, __import__('numba').get_num_threads())", _BITS + "[first layer]"),
    _mutant("fused", "chunks of pixels cut by the number of threads", "last.pooled_width // 64))",
            "last.pooled_width // 64, numba.get_num_threads()))", _BITS + "[first layer]"),
    _mutant("fused", "norm_gradient: q and r exchanged", "q.astype(np.float32), r.astype(np.float32)",
            "r.astype(np.float32), q.astype(np.float32)", _STEP + "[one tile]"),
    _mutant("fused", "norm_gradient: count one short", "self.bn.gamma.value * self.inverse, self.pixels.sum()",
            "self.bn.gamma.value * self.inverse, self.pixels.sum() - 1", _STEP + "[one tile]"),
    _mutant("fused", "pixels counted that hang over the border", "np.minimum(m, width - np.arange(0, width, m))",
            "np.minimum(m, width + 0 * np.arange(0, width, m))", _FAR + "[16]"),
    _mutant("fused", "pooling takes the largest where gamma is negative", "np.where(step.scale < 0, np.float32(-1)",
            "np.where(step.scale < 0, np.float32(1)", _STEP + "[tiny map]"),
    _mutant("fused", "the mask below a pool read before it", "(other, before.pooled, before.mean32",
            "(other, before.raw, before.mean32", _PIECES),
    _mutant("fused", "grad-weight: the last chunk alone", "self._du, picture > 0)", "self._du, False)", _PIECES),
    _mutant("fused", "grad-weight: adds to the step before", "self._du, picture > 0)", "self._du, True)",
            _BITS + "[pool between]"),
    _mutant("fused", "grad-weight of the first layer: a band left out", "self._parts.sum(0)",
            "self._parts[:-1].sum(0)", _STEP + "[first layer]"),
    _mutant("fused", "dropout between two runs: not backward", "dy = dropout.backward(dy)", "pass",
            _FUSED + "dropout_cuts_a_stack_into_runs"),
    _mutant("norm", "combine_moments: a variance below 0", "np.where(variance < 0, 0.0, variance)", "variance",
            _FUSED + "rounding_makes_no_variance_negative"),
    _mutant("norm", "combine_moments: parts not moved to one pivot", "+= sums[part, c] + count * shift",
            "+= sums[part, c]", _FAR + "[16]"),
    _mutant("norm", "combine_moments: half the mixed term", "2 * shift * sums[part, c]", "shift * sums[part, c]",
            _FAR + "[16]"),
    _mutant("norm", "add_rows: the first row left out", "for row in range(len(rows)):",
            "for row in range(1, len(rows)):", _STEP + "[one tile]"),
    _mutant("norm", "combine_moments: a NaN becomes a variance of 0", "np.where(variance < 0, 0.0, variance)",
            "np.where(variance > 0, variance, 0.0)", _FUSED + "rounding_makes_no_variance_negative"),
    # the first layer
    _mutant("first", "a neighbour's pixel for the padding", "min(width, width - shift)", "width",
            _ANSWER + "[first layer-None]"),
    _mutant("first", "no pivot", "outputs + k] = y[pixel * outputs + k]", "outputs + k] = 0", _FAR + "[1]"),
    # what stands between
    _mutant("ends", "pool_raw: a NaN is passed over", "if not (d[k] * s <= v) and v == v:", "if d[k] * s > v:", _POOL),
    _mutant("ends", "pool_raw: a NaN does not stay", "if not (c[k] * s <= v) and v == v:", "if not (c[k] * s <= v):",
            _POOL),
    _mutant("ends", "pool_raw: the last of equals wins", "if not (b[k] * s <= v) and v == v:",
            "if not (b[k] * s < v) and v == v:", _POOL),
    _mutant("ends", "pool_raw: names another tap", "v, tap = c[k] * s, 2", "v, tap = c[k] * s, 1", _POOL),
    _mutant("ends", "pool_raw: the sign stays", "best[k], winner[k] = v * s, tap", "best[k], winner[k] = v, tap",
            _POOL),
    _mutant("ends", "activate: a NaN is cut off", "= a.dtype.type(0) if z < 0 else z\n\n",
            "= z if z > 0 else a.dtype.type(0)\n\n", _NAN + "[first layer, pooled]"),
    # runs that only answer
    _mutant("frozen", "answers with its own buffer", "return self._y.copy()", "return self._y",
            _FUSED + "answers_are_fresh"),
    _mutant("frozen", "writes where it reads", "return self._buffers[1] if source is self._buffers[0] else",
            "return self._buffers[0] if source is self._buffers[0] else", _FUSED + "an_answer_in_pieces_is_the_same"),
]
