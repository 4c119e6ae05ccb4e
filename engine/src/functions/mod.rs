//! Flink's scalar functions and casts as vectorised kernels.
