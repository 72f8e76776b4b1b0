#!/bin/sh
# Checks that the server's tests catch what they are for: takes out one defence at a time, in a copy
# of the tree, and expects the test named beside it to fail. With a name: only the variants whose
# names contain it.
# It takes half an hour; SHARD=1/2 and SHARD=2/2, side by side, take half of the variants each.
#
# A replacement whose original no longer occurs exactly once is an error: mend it here when the code
# changes. DRY=1 checks that alone, in seconds.
set -eu
cd "$(dirname "$0")/.."
. ci/verdict.sh
only="${1:-}"
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$(pwd)/$target ;; esac
shard=${SHARD:-1/1}
export CARGO_TARGET_DIR="$target/broken-server-${shard%/*}" RUST_BACKTRACE=0
# Most of the time is the linker's, and a caught variant needs no line numbers.
export CARGO_PROFILE_DEV_DEBUG=0
copy="$CARGO_TARGET_DIR/tree"
log="$CARGO_TARGET_DIR/log"
# Variants whose tests wait for ever rather than fail.
hangs=""
number=0

rm -rf "${copy:?}"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"

build() (
    cd "$copy"
    cargo test --quiet $tests --no-run
) >"$log" 2>&1

# broken NAME TEST FILE (FROM TO)...
# TEST is one of tests/server, or begins with the module net or hyper and is a unit test.
broken() {
    name=$1 test=$2 file=$3
    shift 3
    case $test in net::* | hyper::*) tests="--package async-drain --lib" ;; *) tests="--test server" ;; esac
    case $name in *"$only"*) ;; *) return 0 ;; esac
    number=$((number + 1))
    [ $((number % ${shard#*/})) -eq $((${shard%/*} - 1)) ] || return 0
    cp "$copy/src/$file" "$CARGO_TARGET_DIR/original"
    ci/replace.pl "$copy/src/$file" "$@" || exit 2
    if [ -n "${DRY:-}" ]; then
        cp "$CARGO_TARGET_DIR/original" "$copy/src/$file"
        return 0
    fi
    if ! build; then
        cat "$log"
        echo "server-broken.sh: $name does not compile" >&2
        exit 2
    fi
    status=0
    (cd "$copy" && timeout 60 cargo test --quiet $tests -- --exact "$test") >"$log" 2>&1 || status=$?
    verdict "$name" "$test" $status
    # As it was, and newer than what was built from it.
    cp "$CARGO_TARGET_DIR/original" "$copy/src/$file"
}

# --- the listener

broken no-syn-filter accept::a_retired_listener_queues_no_connections net/retire.rs \
    'match os::drop_syns(socket) {' 'match Err::<(), std::io::Error>(std::io::ErrorKind::Other.into()) {'
broken no-retirement accept::a_retired_listener_queues_no_connections net/incoming.rs \
    'match accept.retire() {' 'match { let _ = &mut accept; Queue::Closed } {'
broken no-unix-retirement accept::a_unix_listener_retires_without_loss net/listening.rs \
    'if alone {' 'if false && alone {'
broken shared-unix-listener-shut-down accept::a_unix_listener_that_others_hold_is_left_as_it_was net/listening.rs \
    'if alone {' 'if true || alone {'
broken filter-left-behind accept::a_listener_that_others_hold_is_left_as_it_was net/retire.rs \
    'Queue::Closed => os::take_syns(&socket),' 'Queue::Closed => Ok(()),'
broken filter-taken-from-another-loop net::retire::several_loops::a_retired_loop_leaves_the_filter_to_another \
    net/retire/loops.rs '!stopped.contains(&socket)' 'true || !stopped.contains(&socket)'
broken two-loops-end-at-once net::retire::last_moment::a_peer_of_two_accept_loops_is_not_reset net/listening.rs \
    'let turn = retire::one_loop_at_a_time();' 'let turn = ();'
broken filter-left-to-the-next-generation accept::ten_generations_on_one_listener_lose_no_connection net/listening.rs \
    'drop(shared.as_ref().get_ref().restore(&mut stopped, false));' ''
broken restored-without-a-substitute net::retire::last_moment::a_peer_of_an_accept_loop_is_not_reset net/retire.rs \
    'os::Substitute::of(socket).ok()' 'None'
broken substitute-closed-first net::retire::last_moment::a_peer_of_an_accept_loop_is_not_reset net/listening.rs \
    'drop(listener);
                drop(substitute);' 'drop(substitute);
                drop(listener);'
broken no-substitute-for-other-loops net::retire::last_moment::a_peer_of_a_retired_listener_is_not_reset net/retired.rs \
    'self.substitute = retire::' 'let _ = retire::'
broken substitute-leaves-its-program net::os::linux::substitute::tests::another_holder_of_the_listener_goes_on \
    net/os/linux/substitute.rs 'let _ = reuseport::detach(self.0.as_fd());' ''
broken substitute-of-a-member net::os::linux::substitute::tests::a_group_is_left_alone net/os/linux/substitute.rs \
    'if in_group && ' 'if false && in_group && '
broken substitute-of-a-member-that-is-not-told-of \
    net::os::linux::substitute::tests::a_group_that_is_not_told_of_is_left_alone net/os/linux/substitute.rs \
    'members(address)? != 1' 'members(address).is_ok_and(|count| count != 1)'
broken substitute-takes-connections net::os::linux::substitute::tests::a_closing_listener_queues_no_peer \
    net/os/linux/group.rs 'drop_syns(&SockRef::from(&socket))?;' ''
broken connection-that-joins-overlooked net::os::linux::sock_diag::tests::a_request_is_judged_by_its_timer \
    net/os/linux/sock_diag.rs 'if found.timer == 0 {' 'if false {'
broken requests-answered-again-are-dead net::os::linux::retire::tests::a_connection_request_that_is_answered_again_is_seen_again \
    net/os/linux/sock_diag.rs '.find_map(|interval| interval.checked_sub(left))' \
    '.find_map(|interval| interval.checked_sub(left)).map(|age| age + LONGEST_INTERVAL * found.retransmits.into())'
broken a-full-queue-is-not-thought-of net::retire::full_queue::a_peer_that_found_the_queue_full_is_accepted \
    net/retire.rs 'stopped.was_full |= asked.full;' ''
broken cookies-are-not-thought-of net::retire::hidden_requests::requests_that_are_hidden_are_waited_for net/retire.rs \
    'hidden: os::connection_requests_are_hidden(),' ''
broken an-answer-begins-a-request net::os::linux::sock_diag::tests::a_request_is_judged_by_its_timer \
    net/os/linux/sock_diag.rs 'found.retransmits > 0 || ' ''
broken a-syn-that-comes-again-is-not-thought-of net::os::linux::sock_diag::tests::a_request_is_judged_by_its_timer \
    net/os/linux/sock_diag.rs '(0..=u32::from(found.retransmits).min(7))' \
    '[u32::from(found.retransmits).min(7)].into_iter()'
broken a-signal-is-a-queued-connection net::retire::tests::an_interrupted_look_at_the_queue_is_repeated net/retire.rs \
    'retry_on_intr(poll)' '{ let mut poll = poll; poll() }'
broken queue-not-emptied listener::all_50_queued_connections_are_answered net/incoming.rs \
    'self.state = match accept.retire() {' 'let _ = accept.retire(); self.state = match Queue::Shared {'
broken syns-dropped-before-the-queue-is-empty accept::a_queue_is_emptied_before_its_listener_retires net/retire.rs \
    'Self::NotAsked if queued() => {' 'Self::NotAsked if false && queued() => {'
broken requests-asked-for-once accept::a_connection_request_that_ends_is_noticed_soon net/incoming.rs \
    'self.retry.wait();' 'self.retry.timer = Some(Timer::never());'
broken no-retirement-for-other-loops retire::a_retired_listener_is_empty_when_its_queue_is net/retired.rs \
    'Stop::Done(retire::tcp(socket))' 'Stop::Done(Stopped::new(Queue::Closed))'
broken a-listeners-path-taken accept::a_stale_unix_path_is_replaced_and_a_live_one_is_not net/unix_path.rs \
    'is_socket && refused()' 'is_socket || refused()'
broken a-successors-path-removed accept::a_unix_path_is_left_to_a_successor net/unix_path.rs \
    'is_ok_and(|file| file == self.file)' 'is_ok()'
broken no-steering group::a_retiring_member_gets_no_connection_and_no_peer_waits net/retire.rs \
    '(How::InTurn, Some(address)) => os::steer' '(How::InTurn, Some(address)) if false => os::steer'
broken steered-to-itself group::a_retiring_member_gets_no_connection_and_no_peer_waits net/os/linux/group.rs \
    'if last == cookie(member)? {' 'if false && last == cookie(member)? {'
broken members-retire-together group::a_member_waits_while_a_sibling_retires net/os/linux/group.rs \
    'a member of {address} retires")' 'a member of {address} retires {:?}", std::time::Instant::now())'
broken steering-left-to-newcomers group::a_newcomer_gets_its_share_after_a_sibling_has_retired net/os/linux/group.rs \
    'if let Ok(_turn) = Turn::take(address) {' 'if let (Ok(_turn), false) = (Turn::take(address), true) {'
broken newcomers-during-a-retirement-steered-to group::a_newcomer_during_a_retirement_gets_its_share net/os/linux/group.rs \
    'if !unchanged {' 'if false && !unchanged {'
broken a-turn-is-waited-for-beyond-the-deadline group::a_member_whose_sibling_never_ends_retires_before_the_deadline net/retire.rs \
    'half(deadline).min(TURN)' 'half(deadline).max(TURN)'
broken a-turn-is-waited-for-though-the-deadline-is-unknown \
    group::a_member_of_an_accept_loop_of_its_own_waits_for_a_second net/retired.rs \
    'Some(self.deadline),' '{ let _ = self.deadline; None },'
broken asked-after-the-last-look accept::connections_queued_at_the_last_moment_are_accepted net/incoming.rs \
    'self.last_look();
                WhenEmpty::LookAgain' 'WhenEmpty::Close'
broken no-wait-for-a-suspended-process accept::connections_queued_while_the_process_is_frozen_are_accepted net/incoming.rs \
    'are in its queue.
            self.last_look();' 'are in its queue.
            return true;'
broken emptied-without-end accept::endless_connects_do_not_keep_a_listener_open net/incoming.rs \
    'self.stage == Stage::LastLook && self.bounded && now' 'false && self.bounded && now'
broken emptied-for-half-a-second-at-most listener::all_100_connections_queued_without_descriptors_are_answered net/incoming.rs \
    'emptying.extend(wait + EMPTYING);' 'let _ = (wait, &emptying);' \
    'queue == Queue::Open' 'queue == queue'
broken poll-tells-of-a-queue-that-was-shut-down \
    accept::a_unix_listener_without_descriptors_holds_the_drain_for_its_queue_alone net/listening.rs \
    'stopped.was_empty = empty &&' 'stopped.was_empty = false && empty &&'
broken no-queue-that-was-shut-down-is-known \
    accept::a_unix_listener_without_descriptors_holds_the_drain_for_its_queue_alone net/listening.rs \
    'stopped.was_empty = empty &&' 'stopped.was_empty = (true || empty) &&'
broken descriptors-waited-for-when-overdue accept::a_listener_that_fails_for_ever_neither_spins_nor_ends net/incoming.rs \
    'if emptying.stage == Stage::LastLook => {' 'if false && emptying.stage == Stage::LastLook => {'
broken shared-queue-emptied accept::a_shared_listener_is_left_to_its_successor net/listening.rs \
    'if self.holders == Holders::Another {' 'if false {'
broken accept-before-the-stop-flag listener::a_connect_storm_loses_no_connection net/incoming.rs \
    'let draining = Pin::new(&mut self.draining).poll(cx).is_ready();' \
    'let draining = self.state.accept().is_some_and(|accept| accept.poll_accept(cx).is_pending()) && Pin::new(&mut self.draining).poll(cx).is_ready();'
broken descriptors-end-the-server listener::running_out_of_descriptors_does_not_end_the_server net/backoff.rs \
    '_ => Self::Exhausted,' '_ => Self::Permanent,'
broken no-back-off accept::a_listener_that_fails_for_ever_neither_spins_nor_ends net/incoming.rs \
    '                        _ => {
                            self.backoff.start();
                        }' '                        _ => {}'
broken refused-accepts-spin net::backoff::tests::only_accepts_that_are_refused_in_a_row_are_waited_for net/backoff.rs \
    'self.denied < Self::DENIED' 'true'
broken one-refused-accept-is-waited-for net::backoff::tests::only_accepts_that_are_refused_in_a_row_are_waited_for \
    net/backoff.rs 'self.denied < Self::DENIED' 'false'
broken back-off-outlasts-the-emptying accept::a_long_back_off_does_not_outlast_the_emptying net/incoming.rs \
    'self.backoff.draining();' ''
broken descriptor-release-unheard accept::a_connection_that_closes_ends_the_back_off net/backoff.rs \
    'waker.wake();' 'drop(waker);'
broken an-interrupted-call-ends-a-connection bad_luck::a_signal_interrupts_no_connection net/linger.rs \
    'if error.kind() == io::ErrorKind::Interrupted => {}' 'if false && error.kind() == io::ErrorKind::Interrupted => {}'
broken accept-loop-not-waited-for server::a_server_stopped_before_it_serves_answers_its_queue net/incoming.rs \
    'hold: Node::presence(node),' 'hold: None,'

# --- systemd

broken listeners-of-another-process-taken systemd::listeners_of_another_process_are_not_taken \
    ../crates/async-drain-os/src/passed.rs 'if pid != own {' 'if false {'
broken passed-descriptors-known-by-their-numbers \
    net::passed::tests::a_listener_with_the_number_of_a_passed_one_is_not_shared net/passed.rs 'if taken.is_empty() {' 'if true {'
broken opened-descriptors-taken systemd::what_cannot_be_taken_is_an_error \
    ../crates/async-drain-os/src/passed.rs \
    'Ok(flags) if flags.contains(FdFlags::CLOEXEC)' 'Ok(flags) if false && flags.contains(FdFlags::CLOEXEC)'
broken stop-without-an-extension systemd::a_stop_is_announced_with_the_time_that_it_may_take systemd/notify.rs \
    'is_stopping && is_new' 'false && is_stopping && is_new'
broken watchdog-not-called-again systemd::a_watched_server_says_that_it_is_alive_while_it_runs_and_while_it_drains systemd/notify.rs \
    'let mut again = self.watchdog;' 'let mut again = None::<Duration>;'
broken ready-in-spite-of-a-hold systemd::a_server_that_warms_up_is_ready_when_it_is_warm systemd/notify.rs \
    'progress.phase == Phase::Running && progress.ready' 'progress.phase == Phase::Running'
broken alive-though-blocked systemd::a_server_whose_executor_is_blocked_does_not_say_that_it_is_alive shutdown/hooks.rs \
    'self.poll_check.is_none() || asked && self.is_polled(cx)' 'asked || true'
broken a-supervisor-that-is-gone-is-fatal systemd::a_server_goes_on_without_a_supervisor_that_is_gone systemd/notify.rs \
    '        warn(&error);
        None' '        panic!("{error}")'

# --- connections

broken no-keep-alive-grace idle::an_idle_connection_may_place_one_more_request net/idle.rs \
    'idle.checked_add(self.keep_alive)' 'Some(idle)'
broken no-keep-alive-grace-at-5-ms idle::keep_alive_at_5_ms_loses_nothing net/idle.rs \
    'idle.checked_add(self.keep_alive)' 'Some(idle)'
broken no-connection-close idle::an_idle_connection_may_place_one_more_request http/connection_header.rs \
    'add_option_close(response.headers_mut());' 'let _ = add_option_close;'
broken close-in-place-of-upgrade farewell::an_answer_that_asks_for_an_upgrade_still_does http/connection_header.rs \
    'value.extend_from_slice(option);
            value.extend_from_slice(b", ");' ''
broken close-beside-keep-alive farewell::an_answer_that_asks_for_an_upgrade_still_does http/connection_header.rs \
    'option.eq_ignore_ascii_case(KEEP_ALIVE.as_str().as_bytes())' 'false'
broken tunnels-told-to-close farewell::an_opened_tunnel_is_not_told_to_close http/connection_header.rs \
    '|| self.connect && status.is_success()' ''
broken http10-told-both farewell::an_answer_to_http10_does_not_say_keep_alive_when_the_server_leaves http/connection_header.rs \
    '*response.version_mut() = Version::HTTP_10;' ''
broken no-first-request-grace idle::a_silent_connection_may_send_its_first_request net/idle.rs \
    'accepted.checked_add(self.first_request)?' 'begun'
broken half-a-head-is-idle idle::half_a_head_may_be_completed hyper/activity/queries.rs \
    '!position.is_head_begun() && !position.is_in_body()' '!position.is_in_body()'
broken half-a-head-behind-a-request-is-idle idle::half_a_head_behind_answered_requests_may_be_completed hyper/framing/mod.rs \
    'self.advance(&ahead);' ''
broken an-early-answer-makes-idle in_flight::an_upload_that_was_answered_early_may_be_finished hyper/activity/queries.rs \
    '!position.is_head_begun() && !position.is_in_body()' '!position.is_head_begun()'
broken empty-lines-are-a-head idle::empty_lines_do_not_hold_the_process hyper/framing/mod.rs \
    "(Self::Blank, b'\\r' | b'\\n') => Self::Blank," ''
broken one-time-sweep idle::a_connection_that_falls_idle_late_ends_with_the_keep_alive_grace net/idle.rs \
    'let idle = self.idle.after(told)?;' 'let idle = self.idle.after(told).filter(|&idle| idle <= told)?;'
broken grace-not-from-idle-on idle::a_connection_that_falls_idle_late_may_place_one_more_request net/idle.rs \
    'self.graces.keep_alive(idle)' '{ let _ = idle; self.graces.keep_alive(told) }'
broken handshake-not-raced idle::a_stalled_tls_handshake_ends_with_the_first_request_grace hyper/connection.rs \
    'ready!(closing.poll_handshake(cx));' 'ready!(closing.poll_aborting(cx));'
broken preface-in-pieces-is-a-head idle::half_an_http2_preface_ends_with_the_first_request_grace hyper/framing/mod.rs \
    'Position(stage & !(Position::IN_HEAD | Position::HEAD_BEGUN) |' 'Position(stage |'
broken silent-http2-peer-not-asked idle::an_http2_peer_that_asks_for_nothing_ends_with_the_first_request_grace hyper/closing/mod.rs \
    'let end = told.and_then(' 'let end = told.filter(|_| !http2).and_then('
broken mute-http2-peer-waited-for idle::an_http2_peer_that_answers_no_ping_does_not_hold_the_process hyper/closing/asked.rs \
    'filter(|_| !reacted)' 'filter(|_| false && !reacted)'
broken reacting-peer-is-cut http2::an_upload_that_was_answered_early_is_not_cut hyper/closing/asked.rs \
    'filter(|_| !reacted)' 'filter(|_| { let _ = reacted; true })'
broken tunnel-of-a-silent-peer-is-cut http2::a_tunnel_is_not_cut_while_its_peer_sends_nothing hyper/closing/asked.rs \
    'if tunnel || self.tunnel {' 'if false && (tunnel || self.tunnel) {'
broken tunnel-task-is-nothing-known http2::a_tunnel_is_not_cut_while_its_peer_sends_nothing hyper/spawn.rs \
    'tunnel: Tunnel::next(),' 'tunnel: None,'
broken buffered-is-answered http2::an_answer_of_one_frame_is_work_until_it_is_written hyper/service.rs \
    'kept.and_then(Unanswered::until_written)' \
    'kept.and_then(Unanswered::until_written).filter(|_| false)'
broken unread-pings-are-work http2::a_flood_of_pings_is_not_work hyper/activity/queries.rs \
    'return position.is_http2()
                && ' 'return false && position.is_http2()
                && '
broken slow-acknowledgements-are-cut http2::a_reader_whose_kernel_acknowledges_slowly_gets_all_of_it hyper/closing/asked.rs \
    'if *before != acknowledged && missing > 0 {' 'if false && *before != acknowledged && missing > 0 {'
broken bytes-of-http2-are-missed http2::a_flood_of_pings_is_not_work net/linger.rs \
    'self.own.saturating_add(bytes)' '{ let _ = bytes; 0 }'
broken answers-are-not-missed http2::an_answer_that_stays_in_the_kernel_is_abandoned hyper/activity/queries.rs \
    'delivery.set_own(self.is_written());' '{ let _ = self.is_written(); delivery.set_own(true); }'
broken called-in-the-connection http2::a_panic_in_the_call_ends_its_own_stream hyper/service.rs \
    'if http2 {' 'if false && http2 {'
broken handshake-begun-by-the-accept-loop limits::a_panic_that_begins_a_handshake_ends_its_own_connection hyper/connection.rs \
    'stage: Stage::Accepted {
                accepted: Some((handshake, conn)),
            },' 'stage: Stage::Handshake { handshake: handshake.handshake(conn) },'
broken keep-alive-grace-from-before-draining idle::an_idle_connection_may_place_one_more_request net/idle.rs \
    'Self::SinceRunning => Some(told),' 'Self::SinceRunning => told.checked_sub(Duration::from_secs(60)),'
broken no-time-after-a-goaway idle::an_http2_connection_that_was_idle_for_long_may_place_one_more_request hyper/closing/asked.rs \
    'due.has_passed(timer::later(since, GOAWAY))' 'due.has_passed(since)'
broken one-goaway streams::a_stream_between_the_goaways_is_served_and_a_later_one_may_be_retried hyper/watch.rs \
    'conn.graceful_shutdown();' 'drop(conn);'
broken plain-close close::an_answer_of_300_kb_arrives_whole_in_spite_of_unread_input net/linger.rs \
    'if let Close::Lingering(_) = this.close {' 'if false {'
broken plain-close-of-a-rejected-upload close::a_rejected_upload_of_5_mb_can_read_why net/linger.rs \
    'if let Close::Lingering(_) = this.close {' 'if false {'
broken always-linger close::a_peer_that_has_everything_does_not_hold_the_exit net/linger.rs \
    'if over && !owed {' 'if false && over && !owed {'
broken acknowledgements-are-not-progress close::an_answer_is_work_for_as_long_as_it_is_being_acknowledged net/linger.rs \
    'if unacknowledged < lingering.unacknowledged {' 'if false && unacknowledged < lingering.unacknowledged {'
broken acknowledgements-unseen-after-the-peers-end linger::a_close_lasts_for_as_long_as_bytes_are_acknowledged net/linger.rs \
    'Some(bytes) => bytes == 0 || lingering.was_over,' 'Some(bytes) => bytes == 0 || lingering.was_over || lingering.peer_ended,'
broken arrivals-are-progress linger::a_peer_that_sends_for_ever_is_not_waited_for net/linger.rs \
    'if unacknowledged < lingering.unacknowledged {' 'if unacknowledged < lingering.unacknowledged || lingering.arriving {'
broken stalled-peer-not-reset linger::a_connection_that_stalls_is_reset_and_reported net/linger.rs \
    'self.set_reset_on_drop(true);' ''
broken stalled-answer-unreported close::an_unread_answer_is_abandoned_after_the_stall_limit net/linger.rs \
    'self.delivery.set_lost();' ''
broken stalled-raw-answer-unreported linger::a_connection_that_stalls_is_reset_and_reported net/linger.rs \
    'record.abandon();' 'let _ = record;'
broken dropped-bytes-unreported linger::a_connection_that_is_dropped_with_bytes_on_their_way_is_reported net/linger.rs \
    'if is_stopping && !over' 'if false && is_stopping && !over'
broken idle-bytes-unreported close::an_idle_connection_with_bytes_on_their_way_is_abandoned_with_the_grace_period drain/counts.rs \
    '|| work.is_some_and(WorkState::is_uncounted)' ''
broken a-proxy-closes-both-directions linger::a_connection_is_used_by_reference_and_half_closed net/linger.rs \
    'SockRef::from(&socket).shutdown(how)?;' 'let _ = how; SockRef::from(&socket).shutdown(Shutdown::Both)?;'
broken a-peer-that-leaves-is-abandoned close::a_peer_that_leaves_in_the_middle_of_its_answer_is_not_abandoned hyper/watch.rs \
    'if let Some(guard) = this.guard.as_mut() {' 'if let Some(guard) = this.guard.as_mut().filter(|_| false) {'
broken a-reset-by-the-peer-is-a-loss linger::a_connection_that_its_peer_has_reset_is_not_reported net/os/mod.rs \
    '.is_ok_and(|peer| peer.as_socket().is_some())' '.map_or(true, |peer| peer.as_socket().is_some())'
broken bytes-on-their-way-are-idle close::answers_on_their_way_count_as_in_flight hyper/closing/mod.rs \
    '&& !delivering' ''
broken tls-cut close::tls_ends_with_close_notify hyper/io.rs \
    'self.conn().poll_close(cx)' '{ let _ = cx; Poll::Ready(io::Result::Ok(())) }'
broken tls-cut-before-the-version-is-known close::a_silent_tls_connection_ends_with_close_notify hyper/io.rs \
    'let _ = ready!(self.poll_end(cx));' ''
broken cut-answer-looks-whole close::a_cut_answer_without_a_length_ends_with_a_reset net/linger.rs \
    'let _ = SockRef::from(&socket).set_linger(reset.then_some(Duration::ZERO));' 'let _ = reset;'
broken whole-answer-reset close::a_whole_answer_without_a_length_ends_with_the_stream hyper/activity/socket.rs \
    'delivery.set_unended(false);' ''
broken no-body-is-owed close::a_rejected_upload_that_pauses_is_not_reset hyper/activity/socket.rs \
    'if self.position().is_in_body() && !self.expects_continue() {' 'if false {'
broken every-body-is-owed pipelined::a_peer_that_pipelined_before_it_uploaded_does_not_hold_the_exit hyper/activity/socket.rs \
    'if self.position().is_in_body() && !self.expects_continue() {' 'if true {'
broken end-of-a-refused-upgrade-is-dropped close::a_client_that_is_not_granted_an_upgrade_gets_its_answer_whole hyper/io.rs \
    'self.give_back.is_some() && self.activity.takes_all()' 'false'
broken upgraded-loss-is-not-reported dropped::bytes_that_an_upgraded_connection_loses_are_reported hyper/activity/requests.rs \
    'delivery.set_guarded(false);' 'let _ = delivery;'
broken a-body-is-owed-that-is-not-asked-for close::a_client_that_was_not_told_to_continue_does_not_delay_the_exit \
    hyper/activity/socket.rs 'self.position().is_in_body() && !self.expects_continue()' 'self.position().is_in_body()'
broken a-body-that-was-asked-for-is-not-owed hyper::activity::socket::tests::a_peer_waits_until_it_is_told_to_continue \
    hyper/activity/socket.rs 'if self.expects_continue() && bytes' 'if false && bytes'
broken a-late-end-over-http2-is-written hyper::activity::queries::tests::an_answer_of_http2_that_ends_late_is_work \
    hyper/activity/queries.rs 'if position.is_http2() && !self.is_flushed() {' 'if false && position.is_http2() {'
broken half-closed-peer-dropped close::a_half_closed_client_is_answered hyper/server.rs \
    'builder.http1().half_close(true);' ''

broken no-limit-for-a-head limits::half_a_head_is_closed_while_running hyper/closing/mod.rs \
    'if self.is_head_late(stopping, due) {' 'if false && self.is_head_late(stopping, due) {'
broken half-a-head-cuts-its-neighbours limits::an_http2_head_that_is_not_continued_cuts_no_answer_of_a_server_that_stops \
    hyper/closing/unfinished.rs '!stopping || activity.is_answered()' '!stopping || activity.is_answered() || true'
broken idle-limit-advertised-too-early limits::no_idle_limit_is_advertised_before_a_request_has_arrived hyper/service.rs \
    'if !self.activity().is_in_body() {' 'if true {'
broken one-limit-for-all-heads limits::heads_that_follow_each_other_have_a_time_each hyper/closing/unfinished.rs \
    'if self.requests_before != requests {' 'if false && self.requests_before != requests {'
broken http2-head-ends-with-its-first-frame limits::an_http2_head_that_is_not_continued_is_closed_while_running hyper/framing/frames.rs \
    'self.open = flags & END_HEADERS == 0;' 'self.open = false && flags & END_HEADERS == 0;'
broken http2-head-is-idle http2::half_a_head_may_be_completed_over_http2 hyper/framing/frames.rs \
    'self.open = flags & END_HEADERS == 0;' 'self.open = false && flags & END_HEADERS == 0;'
broken http2-head-beside-a-request limits::an_http2_head_that_is_not_continued_is_closed_while_running hyper/activity/queries.rs \
    '|| position.is_in_http2_head() &&' '|| false && position.is_in_http2_head() &&'
broken http2-head-begins-with-a-whole-frame limits::half_a_headers_frame_is_closed_while_running hyper/framing/frames.rs \
    'self.open || self.come' 'self.open || false && self.come'
broken http2-head-begins-with-a-type limits::a_frame_that_stops_before_its_type_is_closed_while_running hyper/framing/frames.rs \
    '(1..TYPED).contains(&self.come) && self.greeted' 'false'
broken http2-head-of-the-handshake limits::a_preface_without_settings_is_closed_while_running hyper/framing/frames.rs \
    '!self.greeted' 'false && !self.greeted'
broken aborting-not-waited-for by_hand::aborting_wakes_a_watched_connection_in_each_phase hyper/closing/mod.rs \
    'if self.poll_aborting(cx).is_ready() {
                return Next::Cut;
            }' ''
broken window-ignores-a-late-deadline limits::the_window_ends_within_a_grace_period_that_is_known_late hyper/closing/window.rs \
    'self.is_leaving() || fits(drawn.at)' 'self.is_leaving() || fits(drawn.at) || true'
broken late-deadline-is-not-looked-for limits::the_window_ends_within_a_grace_period_that_is_known_late hyper/closing/window.rs \
    'if deadline.is_none() {' 'if false && deadline.is_none() {'
broken late-deadline-is-looked-for-once limits::the_window_ends_within_a_grace_period_that_is_known_late hyper/closing/window.rs \
    'late = late.saturating_mul(2);' 'late = Duration::MAX;'
broken no-limit-for-a-handshake limits::a_stalled_handshake_is_closed_while_running hyper/closing/unfinished.rs \
    'if due.has_passed(this.unfinished) || due.has_passed(silence) {' 'if due.has_passed(silence) {'
broken hypers-limit-between-requests limits::hypers_own_timers_work hyper/server.rs \
    '.timer(ReactorTimer)
            .header_read_timeout(None);' ';'
broken dropped-is-done dropped::a_connection_that_is_dropped_at_work_with_its_executor_is_abandoned hyper/watch.rs \
    'guard.map(ConnectionGuard::abandoned_if_dropped)' 'guard.map(|mut guard| { guard.finished(); guard })'
broken stalled-connections-sleep stalled::a_request_that_comes_with_the_end_of_an_answer_is_answered \
    hyper/watch.rs 'if this.stalled.is_some() || this.closing.is_unflushed() {' 'if this.closing.is_unflushed() {'
broken stalled-connections-keep-others-waiting stalled::a_peer_that_pipelines_without_end_lets_others_run \
    hyper/watch.rs '            this.closing.report(before_poll, this.guard.as_mut());' \
    '            if this.closing.stalled().is_some() { continue; }
            this.closing.report(before_poll, this.guard.as_mut());'
broken only-heads-stall stalled::a_request_that_comes_with_the_end_of_an_answer_is_answered \
    hyper/activity/queries.rs '!position.is_http2_for_good()
                && !position.is_in_body()' '!position.is_http2_for_good()
                && position.is_head_begun()
                && !position.is_in_body()'
broken declined-upgrades-are-dropped close::a_client_that_is_not_granted_an_upgrade_gets_its_answer_whole \
    hyper/watch.rs 'if result.is_ok() && this.closing.is_unclosed() {' 'if false && this.closing.is_unclosed() {'
broken declined-tls-upgrades-are-dropped close::a_refused_tunnel_ends_with_close_notify hyper/io.rs \
    'self.wrap(conn, delivery, Some(|conn| Box::new(conn)))' 'self.wrap(conn, delivery, None)'

# --- limits while the server runs, and lame duck

broken idle-for-ever limits::an_idle_connection_is_closed_after_its_limit hyper/closing/mod.rs \
    'if due.has_passed(self.idle_end()) {' 'if false && due.has_passed(self.idle_end()) {'
broken idle-limit-without-its-buffer limits::an_idle_connection_is_closed_after_its_limit hyper/closing/mod.rs \
    'timer::later(Some(idle), limit.checked_add(IDLE_BUFFER)?)' 'timer::later(Some(idle), limit)'
broken idle-since-the-first-answer limits::an_idle_limit_is_advertised_and_followed_by_the_keep_alive_grace \
    hyper/closing/mod.rs 'if self.requests_at_idle != requests {' 'if false && self.requests_at_idle != requests {'
broken idle-limit-not-advertised limits::an_idle_limit_is_advertised_and_followed_by_the_keep_alive_grace \
    hyper/service.rs 'request.advertise(limit, response);' 'let _ = limit;'
broken idle-http2-is-not-told limits::an_idle_http2_connection_gets_two_goaways hyper/closing/mod.rs \
    'if http2 && !silent && self.is_leaving() {' 'if false && http2 && !silent && self.is_leaving() {'
broken never-aged limits::an_aged_connection_is_told_with_its_next_answer hyper/closing/mod.rs \
    'self.age.as_ref().and_then(|age| age.at)' 'None'
broken no-age-grace limits::an_aged_connection_is_cut_after_its_grace hyper/closing/mod.rs \
    'self.age.as_ref().and_then(|age| age.cut)' 'None'
broken handlers-not-told-of-an-age age::handlers_are_told_of_their_connections_age hyper/closing/aged.rs \
    'handlers.begin(age);' 'let _ = handlers;'
broken no-guard-on-an-aged-connection age::a_request_on_an_aged_connection_gets_a_guard hyper/closing/mod.rs \
    'age.presence = Some(presence);' 'drop((age, presence));'
broken no-guard-on-a-late-connection age::a_request_on_a_connection_accepted_while_draining_gets_a_guard \
    hyper/age.rs 'Some(child).filter(|_| presence.is_some())' 'Some(child)'
broken an-upgrade-ends-the-age age::an_upgraded_connection_is_told_of_its_age hyper/closing/mod.rs \
    'handlers.keep(&age);' 'let _ = handlers;'
broken a-cut-by-age-is-not-reported age::a_cut_by_age_is_reported_if_the_shutdown_is_under_way hyper/closing/aged.rs \
    'guard.abandon();' ''
broken handlers-of-a-cut-connection-are-not-reported \
    age::a_cut_by_age_is_reported_if_the_shutdown_is_under_way hyper/closing/aged.rs \
    'handlers.abort(age);' 'let _ = (handlers, &age);'
broken a-watch-holds-its-handlers by_hand::a_watch_that_has_ended_holds_nothing hyper/watch.rs \
    'this.closing.ended();' ''
broken a-watch-without-limits by_hand::a_watched_connection_has_an_idle_limit hyper/watch.rs \
    'self.closing.set_limits(SharedLimits::new(limits), None);' 'let _ = SharedLimits::new(limits);'
broken unknown-activity-is-idle by_hand::the_age_of_a_connection_whose_activity_is_unknown_ends_it \
    hyper/closing/mod.rs 'is_none_or(Activity::has_tunnel)' 'is_some_and(Activity::has_tunnel)'
broken the-window-is-ignored limits::peers_are_told_to_leave_over_the_window hyper/activity/leaving.rs \
    'self.0.leaving.store(Leaving::WHEN_TOLD, Ordering::Relaxed);' ''
broken timer-without-a-note limits::an_aged_connection_is_told_with_its_next_answer hyper/alarm.rs \
    'self.fired.store(true, Ordering::Release);
        let task' 'let task'
broken any-number-of-connections limits::a_connection_beyond_the_limit_waits_for_another_to_end \
    hyper/server.rs '.connections(self.limits.connections)' ''
broken limit-of-connections-while-draining limits::a_connection_beyond_the_limit_waits_for_another_to_end \
    net/incoming.rs 'matches!(self.state, State::Listening(_))
                && ' 'true && '
broken room-unnoticed limits::a_connection_beyond_the_limit_waits_for_another_to_end net/backoff.rs \
    'self.released.awaited.store(true, Ordering::SeqCst);' ''
broken all-told-at-once limits::peers_are_told_to_leave_over_the_window hyper/closing/mod.rs \
    'let stopped = if self.limits().spread.is_zero()' 'let stopped = if true'
broken window-beyond-the-grace-period limits::the_window_ends_within_the_grace_period hyper/closing/window.rs \
    'self.limits().spread.min(room)' '{ let _ = room; self.limits().spread }'
broken none-spared-in-lame-duck farewell::peers_that_connect_in_lame_duck_are_told_when_draining_begins \
    hyper/activity/leaving.rs 'latch.is(if self.0.spared {' 'latch.is(if false && self.0.spared {'
broken all-spared-in-lame-duck signals::lame_duck_serves_and_then_drains hyper/activity/leaving.rs \
    'latch.is(if self.0.spared {' 'latch.is(if true || self.0.spared {'
broken probers-spared-in-lame-duck probes::a_connection_of_a_prober_ends_in_lame_duck hyper/probes.rs \
    'if self.readiness.phase() >= Phase::LameDuck {' 'if false {'

# --- guards and aborting

broken guard-in-the-handler in_flight::a_slow_reader_gets_its_20_mb hyper/connection.rs \
    'Watch::new(conn.into_owned(), closing, Some(guard)).activity(self.activity)' \
    '{ drop(guard); Watch::new(conn.into_owned(), closing, None).activity(self.activity) }'
broken no-abort in_flight::a_request_that_outlasts_the_grace_period_is_cut_and_named shutdown/stages.rs \
    'drain.node().raise(Phase::Aborting, end);' ''
broken second-signal-unheard signals::a_second_signal_aborts_at_once shutdown/stages.rs \
    'event @ (Event::Requested(1) | Event::ServerEnded) => self.tell(&event),
                event => return self.words(&event, "the grace' \
    'event @ (Event::Requested(_) | Event::ServerEnded) => self.tell(&event),
                event => return self.words(&event, "the grace'
broken begun-by-hand-is-a-request signals::a_signal_after_a_beginning_by_hand_cuts_nothing shutdown/stages.rs \
    'event @ (Event::Requested(1) | Event::ServerEnded) => self.tell(&event),
                event => return self.words(&event, "the grace' \
    'event @ (Event::ServerEnded) => self.tell(&event),
                event => return self.words(&event, "the grace'
broken each-signal-counts signals::a_request_that_arrives_as_two_signals_cuts_nothing ../crates/async-drain-os/src/signal.rs \
    'min(at.wrapping_sub(now)) < SAME_REQUEST_MS' 'min(at.wrapping_sub(now)) < 1'
broken requests-count-when-they-are-seen signals::signals_that_a_blocked_executor_finds_at_once_are_told_apart \
    shutdown/requests.rs \
    'return signals.last_at();' 'let _ = signals.last_at();'
broken earlier-requests-are-the-same \
    signals::an_earlier_signal_of_a_stream_that_is_polled_later_is_a_request shutdown/requests.rs \
    'at.max(other) - at.min(other)' 'at.saturating_duration_since(other)'
broken requests-are-compared-with-the-last signals::a_request_that_two_streams_yield_counts_once \
    shutdown/requests.rs \
    'let mut counted = counted.iter();' 'let mut counted = counted.iter().rev().take(1);'
broken handler-does-not-count signals::a_third_signal_ends_a_process_that_polls_nothing ../crates/async-drain-os/src/signal.rs \
    'if third &&' 'if false && third &&'
broken handler-counts-each-stream-alone \
    signals::a_third_signal_ends_a_process_whichever_stream_caught_the_others ../crates/async-drain-os/src/signal.rs \
    'Some(all) => (all, all.count(signal, now)),' 'Some(_) => (self, third),'
broken earlier-signals-of-a-stream-are-lost \
    signals::signals_that_arrive_before_the_shutdown_is_built_count_together ../crates/async-drain-os/src/signal.rs \
    'all.count(signal, at);' 'let _ = (signal, at);'
broken handler-counts-only-signals signals::a_signal_may_be_the_third_request shutdown/requests.rs \
    'self.together.count(at);' ''
broken reloads-count signals::other_signals_are_not_counted_as_requests ../crates/async-drain-os/src/signal.rs \
    'if third && all.third_ends.load(Ordering::Relaxed) {' 'if third {'
broken pid-1-has-no-default-action signals::pid_1_ends_with_128_and_the_signals_number ../crates/async-drain-os/src/signal.rs \
    'std::process::id() == 1 &&' 'std::process::id() == 0 &&'

conclude
