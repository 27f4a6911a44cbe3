/* Named points for the kill tests.  In the product they are nothing at all.
 *
 * A test build defines ZI_HOOKS and gives zi_hook. */
#ifndef ZI_HOOKS_H
#define ZI_HOOKS_H

#ifdef ZI_HOOKS
void zi_hook(const char *point);
#define ZI_POINT(name) zi_hook(name)
#else
#define ZI_POINT(name) ((void)0)
#endif

#endif
