//! In-process sources and sinks: datagen, nexmark, print, blackhole.
