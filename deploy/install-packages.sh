#!/bin/sh
# Installs the packages of packages.txt that are missing, as root or through sudo; quick and silent when none is.
# Usage: install-packages.sh [GROUP...]   groups: build run test lint fuzz (default: all but fuzz); -n first: only name what is missing
# No service is started by it: the development stack runs its own servers.
set -eu

list=$(dirname "$0")/packages.txt

say() { echo "install-packages: $*" >&2; }

wanted() { # the packages of the groups named, one a line
	awk -v groups=" $* " '/^#/ || NF < 2 || $1 == "release" { next } (groups == "  " && $1 != "fuzz") || index(groups, " " $1 " ") { print $2 }' "$list"
}

missing() { # those of "$@" that are not installed
	dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
		awk -v all="$*" '$2 == "installed" { have[$1] = 1 }
			END { n = split(all, name, " "); for (i = 1; i <= n; i++) if (!(name[i] in have)) print name[i] }'
}

check_release() { # the versions that the programs were written for are those of one Debian release
	release=$(awk '$1 == "release" { print $2 }' "$list")
	id=unknown version=unknown
	if [ -r /etc/os-release ]; then
		id=$(. /etc/os-release && echo "${ID:-unknown}")
		version=$(. /etc/os-release && echo "${VERSION_ID:-unknown}")
	fi
	if [ "$id" != debian ] || [ "$version" != "$release" ]; then
		say "warning: this is $id $version; DungBeetle is built and tested on Debian $release, whose package versions it needs"
	fi
}

become_root() { # prints the words to put before a command that needs root
	if [ "$(id -u)" -eq 0 ]; then return; fi
	if command -v sudo >/dev/null; then echo sudo; return; fi
	say "neither root nor sudo; ask for: apt-get install --no-install-recommends $*"
	return 1
}

forbid_starts() { # while it is there, no package's script starts a service
	policy=/usr/sbin/policy-rc.d
	if [ -e "$policy" ]; then return; fi
	trap '$as_root rm -f "$policy"' EXIT
	trap 'exit 130' INT TERM
	printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
	$as_root chmod 755 "$policy"
}

only_name=no
if [ "${1:-}" = -n ]; then only_name=yes; shift; fi
if ! command -v dpkg-query >/dev/null; then
	say "this is no Debian; install by other means what $list names, then: make programs"
	exit 1
fi
# shellcheck disable=SC2046
needed=$(missing $(wanted "$@"))
if [ -z "$needed" ]; then exit 0; fi
needed=$(echo "$needed" | tr '\n' ' ')
if [ "$only_name" = yes ]; then echo "$needed"; exit 1; fi

check_release
as_root=$(become_root "$needed")
say "installing: $needed"
forbid_starts
apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
$apt update
# shellcheck disable=SC2086
$apt install -y --no-install-recommends -o Dpkg::Options::=--force-confold $needed
