#!/bin/sh
# Prints the text on standard input as C string literals, a line each.
set -eu
# ? too, or ??/ and its like would be trigraphs.
exec sed 's/[\\"?]/\\&/g; s/^/"/; s/$/\\n"/'
