"""How fast the engine is, beside PyTorch and ONNX Runtime where they are installed: `python -m tinyfer.bench`.

Each runtime lives in a process of its own and takes turns with ours through a pipe, so that nothing spins on the
cores while another is measured; every ratio is taken within a round, the median over the rounds counts. PyTorch is
measured in every configuration that is known to be quick, and the quickest one found is the one that we compare with.
Before it is timed, each peer must give our losses (or logits) on the same weights and data.

bench.json is one object:

    machine    processor (as the system names it), system, cores, threads, vector_bits, memory_gb, compiler,
               load_at_start (share of each core that others used), versions {package: version or null}
    ratios     {key: number or null}, exactly the keys of tinyfer.bench.table.FIGURES: medians over rounds. How many
               times as fast as the peer (train_*, infer_*); direct-equivalent FLOP/s over the measured peak
               (step_over_fma_peak); a share of the peer's (peak_memory_vs_torch); seconds (*_s); a share of 1
               (data_share_of_step)
    reasons    {key: why it is null}
    spread     {key: {median, q1, q3, min, max, rounds}} of every key that is not null
    warnings   [what makes figures of this pass doubtful, in sentences]
    rows       [{section, what, peer, ...}], everything that was measured. Figures carry their unit in their name: ms,
               s, mb, gflops (direct-equivalent), gb_per_s, images_per_s, percent_of_peak, percent_of_bandwidth,
               ours_times_as_fast; those of contests are spreads as above. A row with `reason` was not measured, and
               that is why. Sections: limits, start, data, training, inference, memory, ops, ladder, threads.

Modules: __main__ (the program and the order of its sections), table (the figures of the README's table), turns and
child (processes that take turns), cases (what all are given), ours, torch_peer, torch_ops and onnx_peer (what runs in
a process), steps, answers, starts and arithmetic (the sections), loops (peak, bandwidth, ladder), memory, facts,
pictures."""
