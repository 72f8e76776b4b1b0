use async_drain::{Drain, DrainExt, Phase};
use futures_lite::future::block_on;
#[test]
fn smoke() {
    let drain = Drain::new();
    let g = drain.guard().unwrap();
    let c = drain.child();
    let cg = c.guard().unwrap();
    assert_eq!(drain.in_flight(), 2);
    assert!(drain.begin());
    assert!(!drain.begin());
    assert!(c.is_draining());
    drop(g);
    assert_eq!(drain.in_flight(), 1);
    assert_eq!(drain.phase(), Phase::Draining);
    let t = std::thread::spawn({
        let d = drain.until_drained();
        move || d.wait()
    });
    drop(cg);
    t.join().unwrap();
    block_on(drain.until_drained());
    assert!(drain.guard().is_err());
    let _ = async {}.guarded(Drain::new().guard().unwrap());
}
#[test]
fn deep() {
    let mut v = vec![Drain::new()];
    for _ in 0..10_000 {
        let c = v.last().unwrap().child();
        v.push(c);
    }
    let g = v.last().unwrap().guard().unwrap();
    v[0].begin();
    assert_eq!(v[0].in_flight(), 1);
    drop(g);
    assert_eq!(v[0].phase(), Phase::Drained);
}
