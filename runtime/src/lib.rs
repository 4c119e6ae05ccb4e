//! Tasks, channels, barriers, checkpoints, state and recovery.
