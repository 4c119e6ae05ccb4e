//! The same jobs on real threads: what a single thread can never interleave.

use std::sync::Arc;

use dflow_common::Env;
use dflow_common::env::Spawner;
use dflow_common::metrics::Metrics;
use dflow_runtime::checkpoint::MemoryStore;
use dflow_runtime::config::ChannelLimits;
use dflow_runtime::job::{Job, JobEnd};

use crate::kit::{MS, World, config};

#[test]
fn many_threads_small_queues_and_hasty_checkpoints_lose_nothing() {
    for round in 0..6 {
        let world = World::new();
        for i in 0..4_000_i64 {
            world.feed(&format!("s{}", i % 5), &[(i % 97, i), (i % 13, i)]);
        }
        let spawner = Spawner::owned(4).unwrap();
        let env = Env::production(spawner.clone());
        let mut config = config();
        config.checkpoint.interval = Some(MS(3));
        config.channel = ChannelLimits { rows_max: 1 + round * 7, bytes_max: usize::MAX };
        let (graph, store) = (world.aggregate(3, 4), MemoryStore::new(Arc::clone(&world.backend)));
        let job = Job { graph, config, env: env.clone(), metrics: Metrics::new(), store }.start().unwrap();
        if round % 2 == 0 {
            world.broker.close();
        }
        let outcome = spawner.block_on(async {
            if round % 2 == 1 {
                env.clock.sleep(MS(30)).await;
                job.checkpoint().await.unwrap();
                world.broker.close();
            }
            tokio::select! {
                outcome = job.wait() => outcome,
                () = env.clock.sleep(MS(60_000)) => panic!("stuck: {:?}", job.status()),
            }
        });
        assert!(matches!(outcome.end, JobEnd::Finished), "{:?}", outcome.end);
        assert_eq!(world.folded(), world.sums());
    }
}
