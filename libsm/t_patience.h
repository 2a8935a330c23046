/* How long unit tests wait for what has to come: a slow disk, a sanitizer and a busy machine
 * together must not exceed it. Where something must not happen, a test waits for a short time and
 * says so. */
#ifndef SM_T_PATIENCE_H
#define SM_T_PATIENCE_H

enum { T_PATIENCE_MS = 120000 };

#endif
