"""`python -m benchmarks` is the whole comparison."""

from benchmarks import (
    bench_dvc_reads,
    bench_entries,
    bench_index,
    bench_insert,
    bench_scale,
    bench_status,
    bench_tables,
    run,
)

run.main()
bench_status.main()
bench_scale.main()
bench_entries.main()
bench_index.main()
bench_insert.main()
bench_tables.main()
bench_dvc_reads.main()
