#!/usr/bin/env bash
# Measures everything that bench/README.md tells and writes it there, between the comments that name each block.
#
# Each part is a process of its own with a limit of time; what a part has measured is written at once, so that a
# later one that fails loses nothing.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

# name, seconds that it may take, program and its arguments
parts=(
    "P1-P4 1200 compare --rows P1,P2,P3,P4"
    "P5 300 compare --rows P5"
    "P6 300 compare --rows P6"
    "P7 900 compare --rows P7"
    "P8 600 compare --rows P8"
    "P9 600 compare --rows P9"
    "P10 300 compare --rows P10"
    "P11 300 compare --rows P11"
    "P12 600 compare --rows P12"
    "VAULT 600 compare --rows VAULT"
    "pipeline 900 pipeline"
    "simulator 300 simulator"
    "eviction 900 eviction"
)
programs=${CARGO_TARGET_DIR:-target}/release
rows=all
quick=no
readme=bench/README.md
summary=()
running=
# The folders of the runs, which a part that is cut off leaves behind.
scratch=$PWD/target/bench/tmp

usage() {
    cat <<'HELP'
Usage: bench/all.sh [--rows NAME,...] [--quick]

Builds kms and the benchmarks for release, measures, and writes the tables of bench/README.md: about 25 minutes.
Wants two cores and an idle machine: nothing else should run meanwhile. `./test --all install` installs the peers.

  --rows NAME,...  only these: P1 to P12, VAULT, pipeline, simulator, eviction; P1 to P4 go together
  --quick          seconds instead of minutes, to see that all parts run: the tables go into
                   target/bench/README.md, for the figures prove nothing; without eviction, which has no short way

Exit code: 0 all targets that were judged are met, 1 one was missed or a figure is invalid, 2 a part did not come to
its end.
HELP
}

say() { printf '==> %s\n' "$*" >&2; }

# Those of the process group that timeout makes: servers too.
stop() {
    trap - INT TERM
    [[ -n $running ]] && kill -TERM -- "-$running" 2>/dev/null && wait "$running"
    rm -rf "$scratch"
    say "stopped; what was measured before is in $readme"
    exit 130
}
trap stop INT TERM

wants() {
    local name=$1 row
    [[ $rows == all ]] && return 0
    for row in ${rows//,/ }; do
        [[ ${row^^} == "${name^^}" ]] && return 0
        [[ $name == P1-P4 && ${row^^} =~ ^P[1-4]$ ]] && return 0
    done
    return 1
}

known() {
    local row=$1 part name
    for part in "${parts[@]}"; do
        name=${part%% *}
        [[ ${row^^} == "${name^^}" ]] && return 0
    done
    [[ ${row^^} =~ ^P[1-4]$ ]]
}

# run NAME LIMIT_S PROGRAM ARGUMENTS...: its outcome goes into the summary.
run() {
    local name=$1 limit_s=$2 program=$3 begun=$SECONDS code outcome
    shift 3
    local arguments=("$@" --readme "$readme")
    [[ $program == compare ]] && arguments+=(--out "target/bench/$name")
    if [[ $quick == yes ]]; then
        case $program in
        compare) arguments+=(--quick) ;;
        eviction)
            summary+=("$(printf '%-10s left out: no short way' "$name")")
            return
            ;;
        *) arguments+=(--rounds 1 --duration-ms 300) ;;
        esac
    fi
    say "$name, at most $limit_s s"
    mkdir -p "$scratch" || exit 2
    TMPDIR=$scratch timeout --kill-after=30 "$limit_s" "$programs/$program" "${arguments[@]}" </dev/null >"target/bench/$name.txt" &
    running=$!
    wait "$running"
    code=$?
    running=
    rm -rf "$scratch"
    case $program-$code in
    *-0) outcome=measured ;;
    compare-1) outcome="a target was missed, or a figure is invalid" && worst=$((worst > 1 ? worst : 1)) ;;
    *-124 | *-137) outcome="NOT DONE within $limit_s s" && worst=2 ;;
    *) outcome="FAILED ($code)" && worst=2 ;;
    esac
    grep -q '| not run |' "target/bench/$name.txt" && outcome+="; in part, for a peer is missing"
    summary+=("$(printf '%-10s %4d s  %s' "$name" $((SECONDS - begun)) "$outcome")")
    grep -E '\*\*(MISS|INVALID)\*\*|not run' "target/bench/$name.txt" >&2
}

while (($# > 0)); do
    case $1 in
    --help | -h)
        usage
        exit 0
        ;;
    --quick) quick=yes ;;
    --rows)
        shift
        rows=${1:-}
        ;;
    --rows=*) rows=${1#--rows=} ;;
    *)
        printf 'unknown: %s\n\n' "$1" >&2
        usage >&2
        exit 2
        ;;
    esac
    shift
done
if [[ $rows != all ]]; then
    for row in ${rows//,/ }; do
        known "$row" || {
            printf 'no such row: %s\n\n' "$row" >&2
            usage >&2
            exit 2
        }
    done
    [[ -n ${rows//,/} ]] || {
        usage >&2
        exit 2
    }
fi

worst=0
mkdir -p target/bench || exit 2
if [[ $quick == yes ]]; then
    cp bench/README.md target/bench/README.md || exit 2
    readme=target/bench/README.md
fi
say "building for release"
cargo build --release --locked -p connected-kms -p kms-bench --bins || exit 2
for part in "${parts[@]}"; do
    # Split at spaces on purpose.
    # shellcheck disable=SC2086
    wants "${part%% *}" && run $part
done
say "summary; the tables are in $readme"
printf '%s\n' "${summary[@]}" >&2
exit "$worst"
