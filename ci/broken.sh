#!/bin/sh
# Checks that the models and tests catch what they are for: breaks the code in named ways, in a copy
# of the tree, and expects the model or test named beside each to fail. With a name: only the
# variants whose names contain it.
#
# A replacement whose original no longer occurs exactly once is an error: mend it here when the code
# changes. DRY=1 checks that alone, in seconds.
set -eu
cd "$(dirname "$0")/.."
. ci/verdict.sh
only="${1:-}"
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$(pwd)/$target ;; esac
copy="$target/broken/tree"
log="$target/broken/log"
# Variants whose tests wait for ever rather than fail.
hangs="wake-under-the-lock drop-a-waker-under-the-lock the-report-waits-for-its-reader
    one-stream-is-heard waited-for-in-spite-of-a-request a-hook-panics-through
    hooks-outlive-their-shutdown a-hook-blocks-the-shutdown waited-for-a-blocked-executor
    a-step-without-end ready-in-silence"
rm -rf "${copy:?}"

fresh() {
    rm -rf "${copy:?}"
    mkdir -p "$copy"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp -p --parents -t "$copy"
    # What the last variant broke is whole again, and cargo goes by the time.
    find "$copy/src" -name '*.rs' -exec touch {} +
}

# Into directories of their own: cargo names a copy's binaries like the original's, and would take
# them for fresh.
# build KIND; leaves what it says in $log
build() (
    cd "$copy"
    case $1 in
        loom) RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$target/broken/loom" \
            cargo test --quiet --package async-drain --release --lib --no-default-features --no-run ;;
        shuttle) RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR="$target/broken/shuttle" \
            cargo test --quiet --package async-drain --release --lib --no-default-features --no-run ;;
        test) CARGO_TARGET_DIR="$target/broken" cargo test --quiet --test core --no-run ;;
        adapters) CARGO_TARGET_DIR="$target/broken" cargo test --quiet --test adapters --no-run ;;
    esac >"$log" 2>&1
)

# run KIND NAME
run() (
    cd "$copy"
    # Some variants hang rather than fail.
    case $1 in
        loom) LOOM_MAX_PREEMPTIONS=3 RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$target/broken/loom" timeout 60 \
            cargo test --quiet --package async-drain --release --lib --no-default-features -- --exact "drain::models::loom::$2" ;;
        shuttle) SHUTTLE_ITERATIONS=20000 RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR="$target/broken/shuttle" timeout 60 \
            cargo test --quiet --package async-drain --release --lib --no-default-features -- --exact "drain::models::shuttle::$2" ;;
        test) CARGO_TARGET_DIR="$target/broken" timeout 20 cargo test --quiet --test core -- --exact "$2" ;;
        adapters) CARGO_TARGET_DIR="$target/broken" timeout 20 cargo test --quiet --test adapters -- --exact "$2" ;;
    esac >"$log" 2>&1
)

# broken NAME "KIND:CATCHER..." FILE (FROM TO)...
broken() {
    name=$1 catchers=$2 file=$3
    shift 3
    case $name in *"$only"*) ;; *) return 0 ;; esac
    if [ -n "${DRY:-}" ]; then
        # Nothing is built, so only this file has to be whole.
        [ -d "$copy" ] || fresh
        cp "src/$file" "$copy/src/$file"
    else
        fresh
    fi
    ci/replace.pl "$copy/src/$file" "$@" || exit 2
    [ -z "${DRY:-}" ] || catchers=
    for catcher in $catchers; do
        catch "${catcher%%:*}" "${catcher#*:}"
    done
}

# catch KIND CATCHER: whether it finds what is broken
catch() {
    kind=$1 catcher=$2
    if ! build "$kind"; then
        cat "$log"
        echo "broken.sh: $name does not compile" >&2
        exit 2
    fi
    status=0
    run "$kind" "$catcher" || status=$?
    verdict "$name" "$kind $catcher" $status
}

# --- the latch

broken raise-without-release loom:raise_publishes drain/latch.rs \
    'fetch_max(phase as u8, Ordering::AcqRel)' 'fetch_max(phase as u8, Ordering::Acquire)'

broken raise-without-acquire loom:raise_publishes drain/latch.rs \
    'fetch_max(phase as u8, Ordering::AcqRel)' 'fetch_max(phase as u8, Ordering::Release)'

broken is-without-acquire loom:raise_publishes drain/latch.rs \
    'self.0.load(Ordering::Acquire) >=' 'self.0.load(Ordering::Relaxed) >='

broken phase-without-acquire loom:work_is_visible_across_shards drain/latch.rs \
    'from_u8(self.0.load(Ordering::Acquire))' 'from_u8(self.0.load(Ordering::Relaxed))'

broken no-second-look "loom:raise_vs_poll shuttle:waits_polled_by_many_tasks" drain/latch.rs \
    '            if self.reached(phase) {
                drop(wakers);
                return Poll::Ready(());
            }
' ''

broken wake-before-raise "loom:raise_vs_poll shuttle:waits_polled_by_many_tasks" drain/raise.rs \
    'let before = self.latch.advance(phase);
        let childless = self.follow(before, phase);
        (' \
    'let before = self.latch.phase();
        let childless = self.follow(before, phase);
        let before = self.latch.advance(phase);
        ('

broken wake-under-the-lock test:hostile::a_waker_may_drop_its_task drain/latch.rs \
    'woken[passed] = mem::take(&mut wakers[passed]);' \
    'wake_all(mem::take(&mut wakers[passed]));'

broken drop-a-waker-under-the-lock test:hostile::a_waker_may_use_its_drain_when_dropped drain/latch.rs \
    'Some(mem::replace(&mut wakers[registered.slot], waker))' \
    'drop(mem::replace(&mut wakers[registered.slot], waker));
                    None::<Waker>'

broken skipped-phases-sleep-on test:core::drained_ends_the_waits_for_aborting drain/latch.rs \
    'for passed in before as usize..phase as usize {' \
    'for passed in (before as usize).max(phase as usize - 1)..phase as usize {'

broken the-list-is-gone-before-the-wake "loom:abort_vs_last_drop_vs_wait_for_aborting loom:lame_duck_vs_end_of_a_child" drain/tree.rs \
    '= (Phase::Running, Phase::Drained);' '= (Phase::Aborting, Phase::Drained);'

broken the-end-of-a-child-wakes-too-little loom:raise_vs_first_wait_in_a_child drain/raise.rs \
    'Some(_) => Ended::WAKES,' 'Some(_) => (before, phase),'

broken a-child-ends-and-wakes-what-it-raised loom:lame_duck_vs_end_of_a_child drain/raise.rs \
    'Some(_) => Ended::WAKES,' 'Some(_) => (before, Phase::Drained),'

broken repoll-by-another-ignored "loom:raise_vs_repoll shuttle:waits_polled_by_many_tasks" drain/latch.rs \
    'if registered.holds(cx.waker()) =>' 'if registered.slot < usize::MAX =>'

broken repoll-by-a-lookalike-ignored test:cancel::the_task_that_polled_last_is_woken drain/latch.rs \
    'self.data == waker.data().addr() &&' 'self.data != 0 &&'

broken leave-nothing-behind test:cancel::a_dropped_wait_gives_its_place_back drain/latch.rs \
    'try_remove(registered.slot)' 'try_remove(registered.slot + 1)'

broken a-panic-escapes test:unwind::a_panicking_waker_does_not_stop_the_other_wakes drain/latch.rs \
    'catch_unwind(AssertUnwindSafe(|| waker.wake()))' \
    'Ok::<_, Box<dyn std::any::Any>>(AssertUnwindSafe(|| waker.wake())())' \
    'panic::{AssertUnwindSafe, catch_unwind}' 'panic::AssertUnwindSafe'

broken a-payload-is-dropped test:unwind::a_panic_payload_may_panic_when_dropped drain/latch.rs \
    'mem::forget(payload)' 'drop(payload)'

# --- the count

broken last-shard-without-acquire loom:work_is_visible_across_shards drain/tally.rs \
    'fetch_sub(1, Ordering::AcqRel)' 'fetch_sub(1, Ordering::Release)'

broken last-shard-without-release loom:work_is_visible_across_shards drain/tally.rs \
    'fetch_sub(1, Ordering::AcqRel)' 'fetch_sub(1, Ordering::Acquire)'

broken the-first-shard-ends-it "loom:begin_vs_clone_on_two_shards shuttle:guards_on_four_shards" drain/tree.rs \
    'if !self.live.last_shard() {' 'if self.live.last_shard() && self.latch.is(Phase::Drained) {'

broken refused-without-a-fence loom:late_guard_vs_last_shard drain/node.rs \
    'if seat.is_none() {' 'if seat.is_none() && this.is_child() {'

broken refused-at-once "loom:late_guard_vs_last_shard shuttle:guards_on_two_shards" drain/node.rs \
    'let mut parts = this.parts().enumerate();' 'let mut parts = this.parts().enumerate().take(0);'

broken late-guard-tries-one-shard test:core::new_guards_are_available_while_one_is_alive drain/node.rs \
    'let mut parts = this.parts().enumerate();' 'let mut parts = this.parts().enumerate().take(1);'

broken a-closed-shard-opens-again loom:begin_vs_first_guards_of_a_child drain/part.rs \
    'None if state.closed => None,' 'None if state.closed && index > 0 => None,'

broken kept-is-work test:tree::a_parent_counts_the_guards_of_its_children drain/part.rs \
    'all - usize::from(state.kept.is_some())' 'all'

broken idle-is-work test:stragglers::idle_connections_are_not_stragglers drain/tally.rs \
    'self.begun.fetch_add(ONE, Ordering::Release)' 'self.begun.fetch_add(0, Ordering::Release)'

broken count-looks-at-the-holds-last loom:count_vs_idle drain/tally.rs \
    '        let begun = self.begun.load(Ordering::Acquire);
' '' \
    '        let ended = self.ended.load' '        let begun = self.begun.load(Ordering::Acquire);
        let ended = self.ended.load'

broken count-looks-at-the-forgone-first loom:count_vs_idle drain/tally.rs \
    '        let ended = self.ended.load(Ordering::Relaxed);
' '' \
    '        let begun = self.begun.load' '        let ended = self.ended.load(Ordering::Relaxed);
        let begun = self.begun.load'

# --- the tree

broken released-before-raised "loom:begin_vs_guard_on_one_shard shuttle:guards_on_two_shards" drain/raise.rs \
    'let before = self.latch.advance(phase);
        let childless = self.follow(before, phase);
        (' \
    'let before = self.latch.phase();
        let childless = self.follow(before, phase);
        self.latch.advance(phase);
        ('

broken never-released "loom:last_drop_vs_wait shuttle:a_finish_that_may_abort" drain/raise.rs \
    'let begun = before < Phase::Draining && phase >= Phase::Draining;' \
    'let begun = before > Phase::Draining && phase >= Phase::Draining;'

broken deadline-after-the-phase loom:begin_with_deadline_vs_child drain/raise.rs \
    '        // S7: published first' \
    '        let before = self.latch.advance(phase);
        // S7: published first' \
    '        let before = self.latch.advance(phase);
        let childless' '        let childless'

broken the-later-deadline-wins test:core::the_earlier_deadline_holds drain/details.rs \
    'self.to >= Phase::Aborting || self.at < later.at' 'self.to >= Phase::Aborting || self.at > later.at'

broken draining-limits-aborting loom:begin_with_deadline_vs_abort drain/details.rs \
    'self.to >= Phase::Aborting || self.at < later.at' 'self.at < later.at'

broken no-hold-on-the-parent "loom:begin_vs_first_guards_of_a_child shuttle:children_made_and_begun" drain/part.rs \
    'if !self.released || self.closed || !self.children.is_empty() {' 'if !self.released || self.closed {'

broken adopt-looks-before-it-lists loom:begin_vs_child_beside_work drain/tree.rs \
    'let mut parts = iter::once(this.part_index())' \
    'let phase = this.latch.phase();
        let mut parts = iter::once(this.part_index())' \
    '        let phase = this.latch.phase();
        if phase > Phase::Running {' '        if phase > Phase::Running {'

broken a-child-is-born-without-deadline test:tree::the_deadline_is_inherited drain/tree.rs \
    'child.step(phase.min(Phase::Aborting), limit);' 'child.step(phase.min(Phase::Aborting), limit.filter(|_| false));'

broken children-are-not-told "loom:begin_vs_first_guards_of_a_child shuttle:children_made_and_begun" drain/raise.rs \
    'let mut below = self.children();
            let mut next = 0;' \
    'let mut below = self.children();
            below.clear();
            let mut next = 0;'

broken grandchildren-are-not-told test:tree::a_parent_waits_for_guards_below drain/raise.rs \
    '                    let further = child.children();
                    below.extend(further);' '                    drop(child.children());'

broken forget-no-child test:tree::a_dropped_child_gives_its_place_back drain/part.rs \
    'let removed = nodes.try_remove(key);' 'let removed = nodes.get(key).cloned();'

broken the-parent-is-not-let-go loom:begin_vs_end_of_a_child drain/tree.rs \
    '(place, state.give_up_kept())' '(place, { let _ = part; Released::Alive })'

broken the-end-recurses test:tree::deep::a_deep_tree_begins_from_the_top drain/tree.rs \
    'Released::Empty => Some(StdArc::clone(this)),' 'Released::Empty => {
                Self::shard_emptied(this);
                None
            }'

broken settled-before-the-walk loom:begin_vs_begin_below drain/raise.rs \
    '        let (moved, childless) = self.step(phase, limit);
        if !childless' \
    '        let (moved, childless) = self.step(phase, limit);
        self.settle(phase);
        if !childless'

broken the-second-to-begin-does-not-look "loom:begin_vs_begin shuttle:children_made_and_begun" drain/raise.rs \
    '        if before >= phase {
            return false;' '        if before >= phase {
            return true;'

# --- the record of abandoned work

broken a-creation-does-not-wait "loom:abort_vs_move_between_shards loom:abort_vs_move_to_the_parent" drain/raise.rs \
    'if self.latch.is_relaxed(Phase::Draining) {' 'if self.latch.is_relaxed(Phase::Drained) {'

broken a-creation-in-haste-does-not-wait loom:abort_vs_move_between_shards drain/mod.rs \
    'if !self.node.latch.is_relaxed(Phase::Draining) =>' 'if !self.node.latch.is_relaxed(Phase::Drained) =>'

broken counted-without-a-mark loom:abort_vs_move_to_the_parent drain/part.rs \
    'if let Some(seat) = self.seat() {' 'if let (false, Some(seat)) = (true, self.seat()) {'

broken counted-before-draining "loom:abort_vs_move_between_shards loom:abort_vs_move_to_the_parent" drain/raise.rs \
    'let begun = self.raise_uncounted(Phase::Draining, None);' 'let begun = false;'

broken counted-one-by-one loom:abort_vs_move_to_the_parent drain/raise.rs \
    'node.look(states, now, &mut ended)' \
    '{ let _ = states; let states = node.lock_all(); node.look(&states, now, &mut ended) }' \
    '            let mut states: Vec<_> = all().map(Node::lock_all).collect();
' '            let mut states: Vec<Vec<MutexGuard<State>>> = all().map(|_| Vec::new()).collect();
' \
    '            let moved = all().zip(&mut states)' \
    '            let mut states: Vec<_> = all().map(Node::lock_all).collect();
            let moved = all().zip(&mut states)'

broken counted-after-it-is-told test:report::work_that_ends_when_it_is_told_to_abort_is_abandoned drain/raise.rs \
    '        let mut ended = Vec::new();
        let before: Vec<_> = {' \
    '        all().for_each(|node| { let before = node.latch.advance(Phase::Aborting); node.follow(before, Phase::Aborting); });
        let mut ended = Vec::new();
        let before: Vec<_> = {'

broken a-hold-is-given-up-in-two-steps loom:abort_vs_end_of_an_idle_connection drain/presence.rs \
    'let _state = lock(&part.state);
            part.tally.end_presence();' 'part.tally.end_presence();'

broken the-kept-are-given-up-in-two-steps loom:abort_vs_begin_while_idle drain/raise.rs \
    '            let released = if begun {
                state.release()' \
    '            let released = if begun {
                let kept = state.kept.take();
                drop(state);
                state = lock(&part.state);
                drop(kept);
                state.release()'

broken lost-and-counted loom:abort_vs_connection drain/counts.rs \
    'work.set_uncounted(self.part_at(work.part()).tally.end_presence());' \
    'self.part_at(work.part()).tally.end_presence();
        work.set_uncounted(true);'

broken neither-lost-nor-counted loom:abort_vs_connection drain/counts.rs \
    'work.set_uncounted(self.part_at(work.part()).tally.end_presence());' \
    'self.part_at(work.part()).tally.end_presence();
        work.set_uncounted(false);'

broken a-child-keeps-its-record test:report::a_child_hands_its_record_to_a_parent_that_is_shutting_down drain/tree.rs \
    'if self.latch.is(Phase::LameDuck) {' 'if self.latch.is(Phase::Drained) {'

broken records-pile-up test:report::a_child_hands_its_record_to_a_parent_that_is_shutting_down drain/tree.rs \
    'if self.latch.is(Phase::LameDuck) {' 'if self.latch.is(Phase::Running) {'

broken the-report-panics test:report::printing_changes_neither_the_exit_nor_its_status report/mod.rs \
    '        self.print();
' '        eprintln!("{self}");
        let _ = Self::print;
'

broken the-report-waits-for-its-reader test:report::printing_changes_neither_the_exit_nor_its_status report/mod.rs \
    'changed.wait_timeout_while(done, LONGEST,' 'changed.wait_timeout_while(done, LONGEST * 3_600,'

broken a-report-that-is-printed-is-waited-for test:report::a_report_that_is_read_is_printed_at_once report/mod.rs \
    '*done.lock().unwrap_or_else(PoisonError::into_inner) = true;' 'let _ = done;'

broken no-report-is-printed test:report::a_report_that_is_read_is_printed_at_once report/mod.rs \
    'let _ = io::stderr().write_all(text.as_bytes());' 'let _ = text;'

broken a-line-for-each-straggler test:report::many_stragglers_are_grouped_by_label_and_place report/straggler.rs \
    'if self.known.len() <= most {' 'if self.known.len() <= most.max(9_999) {'

broken dropped-at-work-is-done test:report::a_connection_dropped_at_work_is_abandoned drain/connection_guard.rs \
    'let dropped = self.abandoned_if_dropped &&' 'let dropped = false &&'

broken a-panic-is-a-loss test:report::a_panic_abandons_nothing drain/connection_guard.rs \
    ' && !thread::panicking();' ';' '    thread,
' ''

broken the-end-of-a-connection-is-a-loss test:report::a_panic_abandons_nothing drain/connection_guard.rs \
    'if (lost || dropped) && self.phase() > Phase::Running {' 'if lost || dropped {'

# --- the handles and the rest

broken the-last-handle-does-not-begin "loom:last_handles_drop shuttle:handles_dropped_everywhere" drain/mod.rs \
    'self.node.drop_handle();' 'let _ = Node::drop_handle;'

broken admitted-while-draining loom:begin_vs_admit drain/node.rs \
    'if phase >= Phase::Draining {
            return Err' 'if phase > Phase::Draining {
            return Err'

broken no-seat-is-taken-again test:alloc::a_tracked_guard_takes_a_seat_that_was_left drain/record_list.rs \
    'if !self.all[self.hand].taken() {' 'if !self.all[self.hand].taken() && false {'

broken tracked-seats-are-kept-for-ever "loom:begin_vs_tracked_guard shuttle:tracked_guards_on_two_shards" drain/raise.rs \
    'registry.release(self, &mut ended);' 'ended.extend(None::<Seat>); let _ = registry;'

broken a-late-registry-is-not-released test:stragglers::a_tracked_child_drains_whose_first_guard_came_late \
    drain/node.rs 'Registry::new(self.several().len(), state.is_released())' \
    'Registry::new(self.several().len(), state.is_released() && false)'

broken the-guard-goes-first test:ext::a_guarded_future_holds_its_guard ext/guarded.rs \
    '        #[pin]
        inner: T,
        guard: Guard,' \
    '        guard: Guard,
        #[pin]
        inner: T,'

broken a-wait-never-terminates test:core::a_wait_is_terminated_once_it_has_answered drain/until.rs \
    'self.completed = polled.is_ready();' ''

broken a-wait-takes-the-park-token test:core::waiting_keeps_the_park_token drain/until.rs \
    'parker.park(deadline);' \
    'let _ = Parker::park; std::thread::park_timeout(Duration::from_millis(1));'

broken work-is-registered-first test:ext::work_that_ends_at_once_is_not_registered ext/run_until.rs \
    '        if this.draining.is_reached() {
            this.inner.set(None);
        }
        let output = match' \
    '        if Pin::new(&mut *this.draining).poll(cx).is_ready() {
            this.inner.set(None);
        }
        let output = match'

broken a-done-wrapper-is-not-terminated test:ext::a_wrapper_is_terminated_once_it_has_answered ext/run_until.rs \
    '        this.inner.set(None);
        Poll::Ready(output)
    }
}

/// Terminated once it has completed. A later poll yields `None`.' \
    '        Poll::Ready(output)
    }
}

/// Terminated once it has completed. A later poll yields `None`.'

broken cut-but-not-dropped test:ext::a_future_is_cut_when_aborting_begins ext/run_until.rs \
    '        if this.aborting.is_reached() {
            this.inner.set(None);
        }
        let output = match' \
    '        if this.aborting.is_reached() {
            return Poll::Ready(Err(Aborted));
        }
        let output = match'

# --- the shutdown

broken each-request-counts test:shutdown::two_requests_at_once_are_one shutdown/requests.rs \
    'if is_another(&self.counted, at) {' 'if is_another(&self.counted, at) || true {'

broken one-stream-is-heard test:shutdown::all_streams_of_requests_are_heard shutdown/requests.rs \
    'self.streams.push(' 'self.streams.clear();
        self.streams.push('

broken begun-by-hand-is-a-request test:shutdown::a_request_after_a_beginning_by_hand_cuts_nothing shutdown/stages.rs \
    'event @ (Event::Requested(1) | Event::ServerEnded) => self.tell(&event),
                event => return self.words(&event, "the grace' \
    'event @ Event::ServerEnded => self.tell(&event),
                event => return self.words(&event, "the grace'

broken lame-duck-by-hand-is-a-request test:shutdown::a_request_after_a_beginning_by_hand_cuts_nothing shutdown/stages.rs \
    'event @ Event::Requested(1) => self.tell(&event),' ''  

broken the-server-is-dropped-unasked test:shutdown::an_idle_server_may_clean_up shutdown/stages.rs \
    'let Poll::Ready(end) = poll_server(self.server.as_mut(), cx) else {' \
    'if event.is_ready() {
                return event;
            }
            let Poll::Ready(end) = poll_server(self.server.as_mut(), cx) else {'

broken stuck-though-drained \
    test:shutdown::an_executor_that_is_blocked_with_nothing_in_flight_has_its_budget shutdown/watchdog.rs \
    'let end = if report.is_drained() {' 'let end = if false {'

broken waited-for-in-spite-of-a-request test:shutdown::an_executor_that_stays_blocked_is_given_up shutdown/stages.rs \
    'Event::Requested(_) => end = Some(insisted_end),' 'Event::Requested(_) => end = end.or(None.filter(|_| insisted_end > Instant::now())),'

broken stuck-without-the-failure test:shutdown::the_watchdog_is_told_why_the_server_failed \
    shutdown/watchdog.rs \
    'if let Some(error) = self.failure.take() {' 'if let Some(error) = None {'

broken stuck-panics-through test:shutdown::a_stuck_that_panics_does_not_cost_the_report \
    shutdown/watchdog.rs \
    'catch_unwind(AssertUnwindSafe(|| stuck(&report)))' \
    'Ok::<_, Box<dyn std::any::Any + Send>>(stuck(&report))'

broken a-hook-panics-through test:progress::a_hook_that_panics_is_dropped_and_reported shutdown/calls.rs \
    'queue.lock().panics.push(message(payload));' 'std::panic::resume_unwind(payload);'

broken a-hook-blocks-the-shutdown test:progress::a_hook_that_blocks_does_not_hold_up_the_shutdown \
    shutdown/calls.rs \
    'if spawn(move || queue.run()).is_err() {' 'if drop(queue) == () {'

broken an-event-that-a-hook-missed-is-lost test:progress::a_hook_that_blocks_does_not_hold_up_the_shutdown \
    shutdown/calls.rs \
    'is_some_and(|last| last.progress.event.is_none())' 'is_some()'

broken hooks-have-the-time-that-the-timer-gives test:progress::a_slow_hook_is_told_everything_whatever_the_timer_does \
    shutdown/stages.rs \
    'self.hooks.wait_ended(end);' ''

broken hooks-outlive-their-shutdown test:progress::hooks_are_dropped_with_the_shutdown shutdown/calls.rs \
    'fn drop(&mut self) {
        self.close();' 'fn drop(&mut self) {'

broken work-that-aborting-ends-is-not-told test:progress::a_hook_is_told_of_work_that_aborting_ends_at_once shutdown/hooks.rs \
    'progress.in_flight.max(self.stage.aborted)' 'progress.in_flight'

broken polled-though-blocked test:progress::a_hook_is_told_whether_the_executor_is_blocked shutdown/hooks.rs \
    'self.poll_check.is_none() || asked && self.is_polled(cx)' 'asked || true'

broken a-stream-of-requests-panics-through test:progress::a_stream_of_requests_that_panics_is_dropped_and_reported \
    shutdown/requests.rs \
    'caught(&mut self.panics, || stream.as_mut().poll_next(cx))' 'Some(stream.as_mut().poll_next(cx))'

broken a-stream-of-requests-panics-at-the-end \
    test:progress::streams_of_requests_whose_drops_panic_do_not_cost_the_report shutdown/requests.rs \
    'for stream in mem::take(&mut self.streams) {' 'for stream in mem::take(&mut self.streams).drain(..0) {'

broken a-timer-for-hooks-while-running test:progress::no_timer_runs_for_a_hook_while_running_unless_it_asks \
    shutdown/hooks.rs \
    '(!running).then_some(hook.every)' '(running || !running).then_some(hook.every)'

broken told-though-nothing-changed test:progress::a_hook_is_told_of_changes_at_most_once_in_its_interval \
    shutdown/hooks.rs \
    'is_due && is_new()' 'is_due && (is_new() || true)'

broken idle-is-all-that-is-not-work test:progress::idle_connections_are_counted_apart_from_work drain/counts.rs \
    'presences.saturating_sub(others)' 'presences.saturating_sub(others * 0)'

broken the-youngest-is-named test:progress::the_oldest_guard_is_named drain/registry.rs \
    'known.age >= age' 'known.age <= age'

broken an-idle-connection-is-named test:progress::the_oldest_guard_is_named drain/registry.rs \
    'if record.is_at_work() && place < most' 'if place < most'

broken a-request-cuts-a-step test:steps::a_second_request_does_not_cut_a_step shutdown/stages.rs \
    '// L4: it cuts nothing.
                event => self.tell(&event),' 'Event::Requested(2) => return None,
                event => self.tell(&event),'

broken a-step-without-end test:steps::a_step_that_fails_stops_nothing_after_it shutdown/stages.rs \
    'Event::TimeIsUp => return Some("its budget is used up".into()),' 'Event::TimeIsUp => {}'

broken a-step-panics-through test:steps::a_step_that_fails_stops_nothing_after_it shutdown/steps.rs \
    'Err(payload) => Some(format!("it panicked: {}", message(payload)).into()),' \
    'Err(payload) => std::panic::resume_unwind(payload),'

broken a-step-that-panics-is-dropped-in-its-unwind test:steps::a_step_that_fails_stops_nothing_after_it \
    shutdown/steps.rs \
    'Box::pin(Failing { inner: step() })' 'let work = step();
            Box::pin(async { work.await.failure() })'

broken the-server-outlives-the-drain test:steps::steps_run_in_order_after_the_drain_and_before_run_returns \
    shutdown/stages.rs \
    'self.server.set(None);
        let mut failed' 'let mut failed'

broken the-watched-server-outlives-the-drain \
    test:steps::steps_run_in_order_after_the_drain_and_before_run_returns shutdown/watchdog.rs \
    'server.set(None);
            worker' 'worker'

broken waited-for-a-blocked-executor test:steps::steps_do_not_run_on_a_blocked_executor shutdown/stages.rs \
    'Event::TimeIsUp => return Some("not run, since the executor is blocked".into()),' \
    'Event::TimeIsUp => {}'

broken a-step-has-only-its-budget \
    test:steps::a_step_may_wait_for_the_executor_as_long_as_the_phases_might_have_lasted shutdown/stages.rs \
    'self.ends.map(|ends| ends.max(now))' 'self.ends.map(|ends| ends.min(now))'

broken a-step-runs-though-its-time-is-up test:steps::steps_do_not_run_on_a_blocked_executor shutdown/relay.rs \
    'state.order = None;
            let' 'let'

broken the-text-of-an-error-panics-through test:steps::an_error_without_a_text_does_not_cost_the_report \
    shutdown/steps.rs \
    'catch_unwind(AssertUnwindSafe(|| write!(text, "{}", self.0)))' \
    'Ok::<_, Box<dyn std::any::Any + Send>>(write!(text, "{}", self.0))'

broken a-step-without-a-budget-is-run test:steps::a_step_whose_budget_is_zero_is_not_run shutdown/stages.rs \
    'if budget.is_zero() {' 'if false {'

broken kubernetes-is-a-balancer test:readiness::each_mode_has_the_phase_from_which_on_it_is_unready \
    drain/readiness.rs 'self.until = Phase::Draining;' ''

broken ready-in-spite-of-a-hold test:readiness::a_program_is_unready_until_the_last_hold_ends \
    drain/readiness.rs 'self.holds.count.load(Ordering::Relaxed) == 0' 'true'

broken ready-in-silence test:progress::a_hook_is_told_when_the_last_hold_is_gone drain/readiness.rs \
    'wake_each(woken);' 'if false { wake_each(woken); }'

# --- tower

broken no-connection-close-in-lame-duck \
    adapters:tower::answers_close_from_lame_duck_on_but_for_http2_and_upgrades http/connection_header.rs \
    'phase >= Phase::LameDuck' 'phase > Phase::LameDuck'

conclude
