//! Random programs of all public operations against a model of a few lines (S1 S2 S3 S4 S7 L1 L2).
//!
//! `PROPTEST_CASES=100000 cargo test --release --test core statemachine` is the long run.

use proptest::prelude::*;

use testkit::program::{How, Op, Program};

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        Just(How::Guarded),
        any::<bool>().prop_map(|by_guard| How::UntilDraining { by_guard }),
        any::<bool>().prop_map(|by_guard| How::UntilAborting { by_guard }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..64_u8;
    let flag = any::<bool>;
    prop_oneof![
        8 => (n.clone(), flag()).prop_map(|(of, elsewhere)| Op::Guard { of, elsewhere }),
        4 => (n.clone(), flag()).prop_map(|(of, elsewhere)| Op::Admit { of, elsewhere }),
        4 => n.clone().prop_map(|which| Op::CloneGuard { which }),
        2 => n.clone().prop_map(|which| Op::LabelGuard { which }),
        12 => (n.clone(), flag()).prop_map(|(which, elsewhere)| Op::DropGuard { which, elsewhere }),
        2 => n.clone().prop_map(|of| Op::LameDuck { of }),
        2 => n.clone().prop_map(|of| Op::Begin { of }),
        2 => (n.clone(), 0..9_u8).prop_map(|(of, seconds)| Op::BeginBy { of, seconds }),
        2 => n.clone().prop_map(|of| Op::Abort { of }),
        6 => n.clone().prop_map(|of| Op::Child { of }),
        2 => n.clone().prop_map(|which| Op::CloneHandle { which }),
        4 => n.clone().prop_map(|which| Op::DropHandle { which }),
        8 => (n.clone(), 0..4_u8).prop_map(|(of, phase)| Op::Wait { of, phase }),
        2 => (n.clone(), flag()).prop_map(|(which, aborting)| Op::WaitByGuard { which, aborting }),
        1 => (n.clone(), 0..4_u8).prop_map(|(of, phase)| Op::Block { of, phase }),
        4 => (n.clone(), flag()).prop_map(|(which, same_task)| Op::Repoll { which, same_task }),
        2 => n.clone().prop_map(|which| Op::DropWait { which }),
        4 => (n.clone(), how(), flag())
            .prop_map(|(which, how, stream)| Op::Carry { which, how, stream }),
        4 => (n.clone(), flag()).prop_map(|(which, ready)| Op::PollCarried { which, ready }),
        2 => n.clone().prop_map(|which| Op::DropCarried { which }),
        1 => n.clone().prop_map(|of| Op::Finish { of }),
        2 => (n.clone(), flag())
            .prop_map(|(which, time_is_up)| Op::PollFinish { which, time_is_up }),
        1 => n.clone().prop_map(|which| Op::DropFinish { which }),
        1 => n.prop_map(|of| Op::Show { of }),
    ]
}

proptest! {
    #[test]
    fn any_program_does_what_the_model_does(
        track in any::<bool>(),
        shards in 0..4_u8,
        ops in prop::collection::vec(op(), 1..80),
    ) {
        Program::check(track, shards, ops);
    }
}
