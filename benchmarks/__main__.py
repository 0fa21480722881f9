"""`python -m benchmarks` is the whole comparison."""

from benchmarks import bench_insert, bench_status, bench_tables, run

run.main()
bench_status.main()
bench_insert.main()
bench_tables.main()
