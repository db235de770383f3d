/* Random ids. Any thread. */
#ifndef DB_FCGI_UUID_H
#define DB_FCGI_UUID_H

#include <stdbool.h>

#define UUID_SIZE 37

/* A random UUID (version 4, RFC 9562) in lower case; false when the kernel has no randomness to give. */
bool uuid_make(char out[UUID_SIZE]);

#endif
