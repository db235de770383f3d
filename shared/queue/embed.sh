#!/bin/sh
# Prints C that embeds shared/queue/lua/*.lua as the table `scripts` (scripts.h), with each script's SHA-1 as EVALSHA
# wants it. The order is that of enum script_id; a script without a file, or a file without an id, ends the build.
# A line `--@places` is followed by lua/lib/places.lua.
set -eu
cd "$(dirname "$0")"
ids=$(sed -n 's/^[[:space:]]*SCRIPT_\([A-Z]*\),\{0,1\}$/\1/p' scripts.h | grep -v '^COUNT$' | tr 'A-Z' 'a-z')
[ "$(echo "$ids" | sort)" = "$(cd lua && ls ./*.lua | sed 's,^\./,,; s/\.lua$//' | sort)" ] || {
	echo "embed.sh: scripts.h and lua/*.lua name different scripts" >&2
	exit 1
}
whole() { sed '/^--@places$/r lua/lib/places.lua' "lua/$1.lua"; }
echo '/* Made by shared/queue/embed.sh. */'
echo '#include "shared/queue/scripts.h"'
echo 'const struct script scripts[SCRIPT_COUNT] = {'
for id in $ids; do
	# Comments and indentation stay: what redis-cli MONITOR shows is what stands in the file.
	text=$(whole "$id" | ../base/embed.sh)
	size=$(whole "$id" | wc -c)
	digest=$(whole "$id" | sha1sum | cut -d' ' -f1)
	printf '{"%s",\n%s,\n%s, "%s"},\n' "$id" "$text" "$size" "$digest"
done
echo '};'
