#!/usr/bin/env python3
"""Who includes whom, and other rules of the house that no tool knows (make lint). Prints file:line: what is wrong.

Usage: includes.py CC FLAG...   the compiler and its flags, for the headers, each of which must compile alone
"""
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

# What the files of a directory may include of the project; the longest prefix counts.
MAY_INCLUDE = {
    'fcgi/': ('fcgi/', 'shared/base/', 'shared/config/', 'shared/sql/', 'shared/tasks/', 'shared/queue/'),
    'worker/': ('worker/', 'shared/'),
    'shared/base/': ('shared/base/',),
    'shared/config/': ('shared/config/', 'shared/base/'),
    'shared/queue/': ('shared/queue/', 'shared/config/', 'shared/base/'),
    'shared/sql/': ('shared/sql/', 'shared/config/', 'shared/base/'),
    'shared/tasks/': ('shared/tasks/', 'shared/sql/', 'shared/queue/', 'shared/config/', 'shared/base/'),
    'shared/db/': ('shared/db/', 'shared/sql/', 'shared/config/', 'shared/base/'),
    'tests/': ('tests/', 'fcgi/', 'worker/', 'shared/'),
}

# Headers that stay inside the module that wraps them: pattern of the header, pattern of those who may. Tests may too.
PRIVATE = (
    (r'fcgi(app|os|_\w+)?\.h|fastcgi\.h', r'fcgi/loop\.c'),
    (r'hiredis/.*', r'shared/queue/(redis|reply|sentinel)\.c'),
    (r'libpq-fe\.h|postgresql/.*', r'shared/db/pg_\w+\.[ch]'),
    (r'mysql\.h|mysql/.*|mariadb.*|errmsg\.h|mysqld_error\.h', r'shared/db/mysql_\w+\.[ch]'),
    (r'shared/db/mysql_(?!ops)\w+\.h', r'shared/db/mysql_\w+\.[ch]'),
    (r'curl/.*', r'shared/db/ch_\w+\.[ch]'),
    (r'shared/db/ch_(?!ops)\w+\.h', r'shared/db/ch_\w+\.[ch]'),
    (r'shared/db/pg_(conn|sink|source)\.h', r'shared/db/pg_\w+\.[ch]'),
    (r'json-c/.*', r'worker/json\.c'),
    (r'uthash\.h', r'shared/base/hash\.h'),
    (r'yaml\.h', r'shared/config/yaml_tree\.c'),
)

# Functions with a better one beside them. A line that must have one says why: /* allowed: ... */
BANNED = {
    'strcpy': 'memcpy or snprintf', 'strcat': 'struct buf', 'sprintf': 'snprintf', 'vsprintf': 'vsnprintf',
    'gets': 'fgets', 'strtok': 'strcspn', 'alloca': 'malloc', 'strncpy': 'memcpy or snprintf',
    'atoi': 'parse_i64', 'atol': 'parse_i64', 'atoll': 'parse_i64', 'atof': 'strtod',
    'localtime': 'localtime_r', 'gmtime': 'gmtime_r', 'ctime': 'clock_rfc3339', 'asctime': 'clock_rfc3339',
    'strerror': 'err_errno', 'rand': 'getrandom', 'setenv': 'nothing: threads read it', 'putenv': 'nothing',
    'unsetenv': 'nothing', 'system': 'nothing', 'popen': 'nothing', 'redisCommand': 'redisCommandArgv',
}
BANNED_CALL = re.compile(r'(?<![\w.>])(%s)\s*\(' % '|'.join(BANNED))

FILE_LINES_MAX = 700
FUNCTION_LINES_MAX = 100

# In any file: what is true on one machine only. (Written so that they do not match themselves.)
FOREIGN = (
    (re.compile(r'(pypi[.]org|pythonhosted[.]org|npmjs[.]org|crates[.]io|rubygems[.]org|proxy[.]golang[.]org'
                r'|maven[.]org|(deb|security|archive)[.](debian[.]org|ubuntu[.]com)|docker[.]io|quay[.]io|ghcr[.]io)'),
     "names a package registry's host"),
    (re.compile(r'(?<![\w.])/(wor[k]|roo[t])/'), 'names a path of one machine'),
    (re.compile(r'[.][.]/share[d]\b|\b(limits|pitfalls|style)[.]md\b'), 'names notes that are not in this repository'),
)

problems = []


def complain(path, line, text):
    problems.append((path, line, text))


def stripped(text):
    """C without its comments and the insides of its strings; lines stay where they are."""
    def blank(match):
        s = match.group(0)
        return s if s[0] not in '/"\'' else ('""' if s[0] != '/' else ' ') + '\n' * s.count('\n')
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def includes_of(text):
    for number, line in enumerate(text.split('\n'), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


def check_includes(path, text):
    allowed = next(may for where, may in MAY_INCLUDE.items() if path.startswith(where))
    found = list(includes_of(text))
    for number, own, header in found:
        if own and not os.path.exists(header):
            complain(path, number, f'"{header}" is no path from the top of the project')
        elif own and not header.startswith(allowed):
            complain(path, number, f'{os.path.dirname(path)}/ does not include {header}')
        for pattern, who in PRIVATE:
            if re.fullmatch(pattern, header) and not re.fullmatch(who, path) and not path.startswith('tests/'):
                complain(path, number, f'{header} is for {who} only')
    header = path[:-1] + 'h'
    if path.endswith('.c') and os.path.exists(header) and (not found or found[0][2] != header):
        complain(path, found[0][0] if found else 1, f'includes its own header first: {header}')


def check_guard(path, text, guards):
    match = re.search(r'^#ifndef (\w+)\n#define (\w+)\n', text, re.M)
    if not match or match.group(1) != match.group(2):
        complain(path, 1, 'has no include guard')
    elif guards.setdefault(match.group(1), path) != path:
        complain(path, 1, f'has the include guard of {guards[match.group(1)]}')


def check_calls(path, text, code):
    lines = text.split('\n')
    for number, line in enumerate(code.split('\n'), 1):
        for name in BANNED_CALL.findall(line):
            if '/* allowed: ' not in lines[number - 1]:
                complain(path, number, f'{name} is not used here; instead: {BANNED[name]}')


def check_lengths(path, code):
    lines = code.split('\n')
    if len(lines) > FILE_LINES_MAX:
        complain(path, FILE_LINES_MAX, f'has {len(lines)} lines, more than {FILE_LINES_MAX}: it has two jobs')
    start = None
    for number, line in enumerate(lines, 1):
        if line == '{':
            start = number
        elif line == '}' and start:
            if number - start > FUNCTION_LINES_MAX:
                complain(path, start, f'a function of {number - start} lines, more than {FUNCTION_LINES_MAX}')
            start = None


def check_alone(path, compiler):
    run = subprocess.run([*compiler, '-fsyntax-only', '-x', 'c', path], stderr=subprocess.PIPE, text=True)
    if run.returncode:
        complain(path, 1, 'does not compile alone\n' + run.stderr)


def check_foreign(path):
    try:
        with open(path, encoding='utf-8') as f:
            lines = f.read().split('\n')
    except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
        return  # no text, or deleted in the work tree
    for number, line in enumerate(lines, 1):
        for pattern, what in FOREIGN:
            if pattern.search(line):
                complain(path, number, what)


def main():
    compiler = sys.argv[1:]
    listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '-z'], check=True, stdout=subprocess.PIPE)
    files = sorted(set(listed.stdout.decode().split('\0')) - {''})
    sources = [f for f in files if f.endswith(('.c', '.h')) and os.path.exists(f)]
    guards = {}
    for path in sources:
        with open(path, encoding='utf-8') as f:
            text = f.read()
        code = stripped(text)
        if not path.startswith(tuple(MAY_INCLUDE)):
            complain(path, 1, 'is in none of the house\'s directories')
            continue
        check_includes(path, text)
        check_lengths(path, code)
        if path.endswith('.h'):
            check_guard(path, text, guards)
        if not path.startswith('tests/'):
            check_calls(path, text, code)
    for path in files:
        check_foreign(path)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda path: check_alone(path, compiler), [f for f in sources if f.endswith('.h')]))
    for path, line, text in sorted(problems):
        print(f'{path}:{line}: {text}')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
