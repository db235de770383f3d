/* The description of the API (fcgi/openapi.yaml), embedded at build time with the program's version. Constant; any thread. */
#ifndef DB_FCGI_OPENAPI_H
#define DB_FCGI_OPENAPI_H

extern const char openapi_yaml[]; /* NUL-terminated */

#endif
