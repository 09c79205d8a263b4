//! `cargo bench -p headcount-stages`: the time of each stage of an event's path, each with all stages before it, and of what stands beside the path.
//!
//! Times of one process that does nothing else: no kernel, no other request in the caches. What a request costs the machine tells `make bench`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headcount::assets::{Asset, Assets};
use headcount::beacon::batch::{self, Coding};
use headcount::enrich::user_agent::Agents;
use headcount_stages::{Form, Stage, Stages, bodies};

/// Requests of one measurement: so few that the rows of all of them fit into a log that is never run.
fn requests(form: Form) -> usize {
    match form {
        Form::Single => 256,
        Form::Batch => 4,
    }
}

fn stages(criterion: &mut Criterion) {
    for form in Form::ALL {
        let stages = Stages::new(form).expect("the data files are there: `make assets`");
        let mut group = criterion.benchmark_group(form.label());
        let count = requests(form);
        group.throughput(Throughput::Elements((count * form.events()) as u64));
        for stage in Stage::ALL {
            group.bench_function(BenchmarkId::from_parameter(stage.label()), |bencher| {
                // A log of its own each time: what is measured are the rows, not how their buffer grows beyond what a commit ever has.
                bencher.iter_batched_ref(|| stages.log(), |log| stages.run(stage, log, count), criterion::BatchSize::PerIteration);
            });
        }
        group.finish();
    }
}

fn beside(criterion: &mut Criterion) {
    let assets = Assets::locate();
    let path = |asset| assets.path(asset).expect("the data files are there: `make assets`");
    let agents = Agents::load(&path(Asset::UserAgents), &path(Asset::Crawlers)).expect("the data files can be read");
    let mut number = 0;
    criterion.bench_function("agent that is not in the cache", |bencher| {
        let known: Vec<String> = (0..4_000).map(|number| bodies::agent(number, 4_000)).collect();
        bencher.iter(|| {
            number += 1;
            black_box(agents.classify(known[number % known.len()].as_bytes()));
        });
    });
    let packed = bodies::batch(0);
    criterion.bench_function("unpacking of a batch", |bencher| {
        bencher.iter(|| batch::unpack(black_box(&packed), Coding::Gzip, |_| true).expect("it is gzip").len());
    });
}

criterion_group!(benches, stages, beside);
criterion_main!(benches);
