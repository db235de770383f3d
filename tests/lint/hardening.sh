#!/bin/sh
# Are the programs hardened? Prints what is missing: make lint. Usage: hardening.sh PROGRAM...   (of the release flavour)
set -eu
status=0

demand() { # name and the text of what is missing, the lines to look through, the pattern that must be there
	if ! echo "$3" | grep -Eq "$4"; then
		echo "$1: $2"
		status=1
	fi
}

for program in "$@"; do
	header=$(readelf -hW "$program")
	segments=$(readelf -lW "$program")
	dynamic=$(readelf -dW "$program")
	symbols=$(readelf -W --dyn-syms "$program")
	producers=$(readelf -W --debug-dump=info "$program" | grep -F DW_AT_producer)
	demand "$program" 'can be loaded at one address only (-pie)' "$header" 'DYN \(Position-Independent'
	demand "$program" 'has an executable stack' "$segments" 'GNU_STACK .* RW +0x'
	demand "$program" 'leaves its tables of addresses writable (-z relro)' "$segments" 'GNU_RELRO'
	demand "$program" 'resolves functions late (-z now)' "$dynamic" 'BIND_NOW'
	demand "$program" 'has no guarded stack frames (-fstack-protector-strong)' "$symbols" '__stack_chk_fail'
	demand "$program" 'has no checked calls of the C library (-D_FORTIFY_SOURCE)' "$symbols" '__snprintf_chk'
	# What no symbol tells, of every file: the compiler's notes of its options.
	for option in -fstack-protector-strong -fstack-clash-protection; do
		if echo "$producers" | grep 'GNU C' | grep -qvF -e "$option"; then
			echo "$program: a file of it was compiled without $option"
			status=1
		fi
	done
	if echo "$dynamic" | grep -Eq 'R(UN)?PATH|TEXTREL'; then
		echo "$program: has a search path for libraries, or writes to its code"
		status=1
	fi
done
exit $status
