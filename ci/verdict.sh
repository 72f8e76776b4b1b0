# What the scripts that break the code in named ways say of each way, for them to source.
# shellcheck shell=sh disable=SC2154 # `log` and `hangs` are theirs
caught=0 missed=0

# verdict NAME TEST STATUS: notes whether the test, which ended so and wrote to $log, has caught
# what was broken. One that `timeout` has killed is caught only if it is one of those that hang: on
# a slow machine any test runs out of time.
verdict() {
    if [ "$3" -eq 0 ]; then
        missed=$((missed + 1))
        echo "MISSED  $1, by $2"
        grep -q ' 1 passed' "$log" || echo "        there is no test of that name"
        return
    fi
    how=$(grep -A1 'panicked at' "$log" | sed -n 2p | cut -c1-90)
    if [ "$3" -eq 124 ]; then
        # Without the newlines.
        # shellcheck disable=SC2086
        case " $(echo $hangs) " in
            *" $1 "*) how="it hangs" ;;
            *)
                missed=$((missed + 1))
                echo "MISSED  $1, by $2: it timed out, as on a slow machine"
                return ;;
        esac
    fi
    caught=$((caught + 1))
    echo "caught  $1, by $2: ${how:-it fails}"
}

# conclude: ends the script.
conclude() {
    [ -z "${DRY:-}" ] || { echo "$0: all variants apply"; exit 0; }
    echo "$caught caught, $missed missed"
    [ $missed -eq 0 ] && [ $caught -gt 0 ]
}
