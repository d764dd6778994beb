#![allow(clippy::print_stdout, missing_docs)]
use limpid::*;
use std::time::Instant;
fn cpu() -> f64 {
    let mut total = 0.0;
    for t in std::fs::read_dir("/proc/self/task").unwrap() {
        let s = std::fs::read_to_string(t.unwrap().path().join("schedstat")).unwrap();
        total += s.split(' ').next().unwrap().parse::<f64>().unwrap();
    }
    total / 1e6
}
fn main() {
    let threads: usize = std::env::args()
        .nth(3)
        .and_then(|n| n.parse().ok())
        .unwrap_or(2);
    let session = Model::embedded()
        .unwrap()
        .session(Device::cpu(Some(threads)).unwrap())
        .unwrap();
    let image = Image::open("tests/fixtures/photos/coffee.jpg").unwrap();
    let input = session.input(&image).unwrap();
    let logits = session.logits(&input).unwrap();
    let five = session.resolve(&Target::Top(5), &logits).unwrap();
    let one = &five[..1];
    let options = RunOptions::default();
    let a = GradCam::new();
    let layers = std::env::args().nth(1).unwrap_or("last:3".into());
    let n: usize = std::env::args()
        .nth(2)
        .and_then(|n| n.parse().ok())
        .unwrap_or(20);
    let b = GradCam::new().layer(layers);
    let c = a.clone();
    let run = |m: &GradCam, t: &[ResolvedTarget]| {
        let s = cpu();
        let w = Instant::now();
        let maps = session.explain_targets(&input, m, t, &options).unwrap();
        let s = if std::env::var_os("WALL").is_some() {
            w.elapsed().as_secs_f64() * 1e3
        } else {
            cpu() - s
        };
        (s, maps[0].manifest().parameters["layer"].to_string())
    };
    println!("cold: {:?} {:?}", run(&a, one), run(&b, &five));
    run(&c, &five);
    if std::env::var_os("LOOP").is_some() {
        for _ in 0..n {
            run(&b, &five);
        }
        return;
    }
    let objectives: Vec<Objective> = five.iter().map(ResolvedTarget::objective).collect();
    let names = ["conv_head", "bn2.drop", "bn2"].map(str::to_owned);
    let mut times = vec![Vec::new(); 7];
    for _ in 0..n {
        times[0].push(run(&a, one).0);
        times[1].push(run(&b, &five).0);
        times[2].push(run(&c, &five).0);
        times[3].push(run(&b, one).0);
        let s = cpu();
        session.logits(&input).unwrap();
        times[4].push(cpu() - s);
        let s = cpu();
        session
            .layer_gradients(&input, &names, &objectives)
            .unwrap();
        times[5].push(cpu() - s);
        let s = cpu();
        session
            .layer_gradients(&input, &names[2..], &objectives[..1])
            .unwrap();
        times[6].push(cpu() - s);
    }
    for (t, name) in times.iter_mut().zip([
        "1 layer 1 target",
        "3 layers 5 targets",
        "1 layer 5 targets",
        "3 layers 1 target",
        "forward",
        "layer_gradients 3x5",
        "layer_gradients 1x1",
    ]) {
        t.sort_by(f64::total_cmp);
        println!(
            "{name}: min {:.2} median {:.2} ms",
            t[0],
            (t[(n - 1) / 2] + t[n / 2]) / 2.0
        );
    }
}
