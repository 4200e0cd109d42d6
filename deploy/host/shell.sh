# Prepares a shell on a host that make-site.sh has made, after SITE is set: . deploy/host/shell.sh
# Settings, and three functions for processes, each of which has a log and a pid below SITE.

set -a
# shellcheck disable=SC1091  # made by make-site.sh
. "${SITE:?set SITE to the folder that make-site.sh has made}/site.env"
set +a

# start NAME COMMAND... runs the command in the background.
start() {
    started=$1
    shift
    nohup "$@" >>"$SITE/log/$started.log" 2>&1 </dev/null &
    echo $! >"$SITE/run/$started.pid"
}

# wait_for NAME COMMAND... returns when the command succeeds. When the process has ended, or after
# WAIT_S (60), it fails, and shows what the command says and the end of the log.
wait_for() {
    awaited=$1
    shift
    deadline=$(($(date +%s) + ${WAIT_S:-60}))
    until "$@" >/dev/null 2>&1; do
        if ! kill -0 "$(cat "$SITE/run/$awaited.pid")" 2>/dev/null || [ "$(date +%s)" -ge "$deadline" ]; then
            "$@" >&2 || true
            echo "$awaited is not ready; the end of $SITE/log/$awaited.log:" >&2
            tail -n 5 "$SITE/log/$awaited.log" >&2
            return 1
        fi
        sleep 0.2
    done
}

# stop NAME... asks the processes to end, all at once, and returns when they have.
stop() {
    for stopped in "$@"; do
        case $stopped in
        postgres) signal=INT ;; # SIGTERM waits for its clients
        *) signal=TERM ;;
        esac
        kill -s "$signal" "$(cat "$SITE/run/$stopped.pid")" || true
    done
    for stopped in "$@"; do
        while kill -0 "$(cat "$SITE/run/$stopped.pid")" 2>/dev/null; do sleep 0.1; done
        rm "$SITE/run/$stopped.pid"
    done
}
