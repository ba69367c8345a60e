#!/usr/bin/env python3
"""Runs a command; the last line of stderr is how long it took, its largest resident memory in bytes, and how many
seconds of processor time others used meanwhile.

usage: time_command.py COMMAND...
"""
import os
import subprocess
import sys
import time


def busy_seconds():
    """Of all processors together, in user and kernel mode; 0 where the system does not say."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _, _, irq, softirq = map(int, file.readline().split()[1:8])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    before, started = busy_seconds(), time.monotonic()
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    others = max(0.0, busy_seconds() - before - usage.ru_utime - usage.ru_stime)
    process.returncode = os.waitstatus_to_exitcode(status)
    print(f"\n{seconds} {usage.ru_maxrss * 1024} {others}", file=sys.stderr)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main())
