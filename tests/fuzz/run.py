#!/usr/bin/env python3
"""libFuzzer on the fuzz targets, two at a time (make fuzz, make fuzz-merge). Prints a line for each:

    target      executions   a second   new   findings

Status 1 when there is a finding: its input is kept, and the line below the target's says how to run it again. The kept corpora
(tests/fuzz/corpus) are read only; what is new goes to build/fuzz/corpus, from where --merge takes over what reaches new code.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join('build', 'fuzz')
KEPT_BYTES_MAX = 4096  # of one input
KEPT_MAX = 120  # inputs of one target, beside those that were written by hand

# A leak or an endless loop is a finding like any other.
LIMITS = ['-rss_limit_mb=2048', '-timeout=20', '-detect_leaks=1']


def targets(only):
    names = sorted(f[len('fuzz_'):-2] for f in os.listdir(HERE) if f.startswith('fuzz_') and f.endswith('.c'))
    for name in only:
        if name not in names:
            sys.exit(f'no such target: {name}; there are {", ".join(names)}')
    return only or names


def paths(name):
    found = os.path.join(BUILD, 'corpus', name)
    kept = os.path.join('tests', 'fuzz', 'corpus', name)
    os.makedirs(found, exist_ok=True)
    os.makedirs(kept, exist_ok=True)
    return os.path.join(BUILD, 'fuzz', 'fuzz_' + name), found, kept


def dictionary(name):
    path = os.path.join(HERE, name + '.dict')
    return ['-dict=' + path] if os.path.exists(path) else []


def number(log, name):
    match = re.search(rf'^stat::{name}:\s+(\d+)', log, re.M)
    return int(match.group(1)) if match else 0


def fuzz(name, seconds):
    program, found, kept = paths(name)
    findings = os.path.join(BUILD, 'findings')
    os.makedirs(findings, exist_ok=True)
    before = set(os.listdir(findings))
    run = subprocess.run([program, found, kept, f'-max_total_time={seconds}', '-print_final_stats=1', '-max_len=4096',
                          f'-artifact_prefix={findings}/{name}-', *dictionary(name), *LIMITS],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    log = run.stderr.decode(errors='replace')
    with open(os.path.join(BUILD, name + '.log'), 'w', encoding='utf-8') as f:
        f.write(log)
    new = sorted(set(os.listdir(findings)) - before)
    lines = [f'{name:<14}{number(log, "number_of_executed_units"):>12} executions'
             f'{number(log, "average_exec_per_sec"):>9} a second{number(log, "new_units_added"):>7} new'
             f'{len([f for f in new if f.startswith(name + "-")]):>4} findings']
    for file in (f for f in new if f.startswith(name + '-')):
        what = re.search(r'^(.*does not hold.*|.*SUMMARY.*|.*ERROR: libFuzzer.*)$', log, re.M)
        lines.append(f'    {what.group(1).strip() if what else "see " + BUILD + "/" + name + ".log"}')
        lines.append(f'    again: {program} {findings}/{file}')
    ok = run.returncode == 0 and len(lines) == 1
    if not ok and len(lines) == 1:
        lines.append(f'    it ended with status {run.returncode}: see {BUILD}/{name}.log')
    sys.stdout.write('\n'.join(lines) + '\n')  # in one go: the other one writes too
    sys.stdout.flush()
    return ok


def merge(name, _):
    """Takes over as few inputs as reach all that the kept and the found ones reach."""
    program, found, kept = paths(name)
    fresh = kept.rstrip('/') + '.new'
    shutil.rmtree(fresh, ignore_errors=True)
    os.makedirs(fresh)
    run = subprocess.run([program, '-set_cover_merge=1', f'-max_len={KEPT_BYTES_MAX}', fresh, kept, found],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if run.returncode:
        shutil.rmtree(fresh)
        print(f'{name}: merging failed:\n{run.stderr.decode(errors="replace")[-2000:]}')
        return False
    # Of too many, some of each size.
    files = [f for _, f in sorted((os.path.getsize(os.path.join(fresh, f)), f) for f in os.listdir(fresh))]
    chosen = {files[i * len(files) // KEPT_MAX] for i in range(KEPT_MAX)} if len(files) > KEPT_MAX else set(files)
    for file in set(files) - chosen:
        os.remove(os.path.join(fresh, file))
    for file in os.listdir(kept):
        if re.fullmatch('[0-9a-f]{40}', file):  # not those that were written by hand
            os.remove(os.path.join(kept, file))
    for file in os.listdir(fresh):
        os.rename(os.path.join(fresh, file), os.path.join(kept, file))
    os.rmdir(fresh)
    sizes = [os.path.getsize(os.path.join(kept, f)) for f in os.listdir(kept)]
    print(f'{name:<14}{len(sizes):>5} inputs kept, {sum(sizes):>7} bytes', flush=True)
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--minutes', type=float, default=1)
    parser.add_argument('--target', default='', help='names with spaces between them; empty: all')
    parser.add_argument('--merge', action='store_true')
    args = parser.parse_args()
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda name: (merge if args.merge else fuzz)(name, max(1, round(args.minutes * 60))),
                             targets(args.target.split())))
    return 0 if all(done) else 1


if __name__ == '__main__':
    sys.exit(main())
