/* The door by which libFuzzer comes in. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = fuzz_copy(data, size); /* libFuzzer's own is longer than size may say */
	fuzz_one((const uint8_t *)copy, size);
	free(copy);
	return 0;
}
