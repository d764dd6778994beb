//! The embedded model, and stacks of blurs: `cargo bench -p limpid-benches --bench models`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use limpid::measure::Work;
use limpid::{Device, Model};

/// The pictures of the embedded model.
const PICTURE: [usize; 3] = [3, 224, 224];

fn models(criterion: &mut Criterion) {
    let device = Device::auto().expect("a device");
    let session = Model::embedded().map(|model| model.session(device));
    let session = session.expect("a model").expect("a session");
    let mut group = criterion.benchmark_group("models");
    group.sample_size(20);
    for (name, work, batch) in [
        ("forward, batch 1", Work::Forward, 1),
        ("forward, batch 8", Work::Forward, 8),
        ("gradient, batch 1", Work::Gradient, 1),
        ("gradient, batch 8", Work::Gradient, 8),
        ("blurs, 8 of a picture", Work::Blurs, 8),
    ] {
        let mut workload = session.workload(work, batch, PICTURE).expect("a workload");
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(name, |b| b.iter(|| workload.run().expect("a run")));
    }
}

criterion_group!(benches, models);
criterion_main!(benches);
