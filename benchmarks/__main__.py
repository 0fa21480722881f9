"""`python -m benchmarks` is the whole comparison."""

from benchmarks import bench_insert, bench_status, run

run.main()
bench_status.main()
bench_insert.main()
