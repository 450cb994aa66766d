# guard.sh DIR TENTHS PROGRAM...: runs a program until standard input ends, however
# the tests end that hold its other end; then ends it and all that it has
# started, and removes DIR. For guard.rs.
#
# Namespaces of its own for processes and mounts make that certain: with the
# first process of the one the kernel ends all others, and no mount is left.
if [ "$1" != --inside ]; then
    unshare --mount --pid --fork --kill-child --mount-proc sh "$0" --inside "$@"
    rm -rf -- "$1"
    exit
fi
dir=$2 tenths=$3
shift 3
"$@" &
program=$!
read -r _
[ ! -x "$dir/before-end" ] || timeout 5 "$dir/before-end"
kill "$program"
while kill -0 "$program" && [ "$tenths" -gt 0 ]; do
    # A shell can't wait for an end and for a time: it looks again.
    sleep 0.1
    tenths=$((tenths - 1))
done
