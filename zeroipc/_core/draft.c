/* Drafts: messages in the making, and what to undo when one is not sent. */
#include "native.h"

/* A message that needs all but the last sixteenth would starve the rings themselves. */
static int never_fits(const zi_view *view, uint64_t nbytes)
{
    return nbytes > view->arena->limit - view->arena->limit / 16;
}

/* Raise ShmFullError(message, asked, free). */
static void raise_no_room(zi_draft *draft, zi_status status, uint64_t nbytes)
{
    zi_state *state = draft->arena->state;
    const zi_arena *arena = draft->arena->view.arena;
    unsigned long long asked = nbytes, limit = arena->limit, reserved = arena->reserved;
    unsigned long long unused = limit > reserved ? limit - reserved : 0;
    PyObject *text;
    if (draft->too_large)
        text = PyUnicode_FromFormat("a message must be smaller than the arena by a sixteenth: asked=%llu bytes, "
                                    "limit=%llu; send it in parts", asked, limit);
    else if (status == ZI_NO_SPACE)
        text = PyUnicode_FromFormat("no memory is left in /dev/shm: asked=%llu bytes, the arena has reserved %llu; "
                                    "remove files there, or mount it larger", asked, reserved);
    else
        text = PyUnicode_FromFormat("the arena is full: asked=%llu bytes, limit=%llu, reserved=%llu; receive or "
                                    "drop arrays that are in use", asked, limit, reserved);
    PyObject *error = text ? PyObject_CallFunction(state->arena_full, "OKK", text, asked, unused) : NULL;
    if (error) PyErr_SetObject(state->arena_full, error);
    Py_XDECREF(error);
    Py_XDECREF(text);
}

/* Whether an allocation that failed so may succeed later. */
static int may_come(zi_draft *draft, uint64_t nbytes, zi_status status)
{
    if (status == ZI_BUSY) return zi_now() < draft->patience;
    if (status != ZI_NO_MEMORY && status != ZI_NO_SPACE && status != ZI_NO_ENTRY) return 0;
    draft->too_large = never_fits(&draft->arena->view, nbytes);
    return !draft->too_large && zi_now() < draft->deadline;
}

/* Wait for what an allocation lacked, and try again: at once if A was held for a moment longer
 * than the first try, or if a sweep, which nobody may have been idle enough to do, helped. */
static zi_status alloc_again(zi_draft *draft, uint64_t nbytes, uint32_t kind, uint32_t *id, zi_status status)
{
    zi_view *view = &draft->arena->view;
    int again = status == ZI_BUSY;
    if (status == ZI_NO_MEMORY || status == ZI_NO_SPACE) {
        Py_BEGIN_ALLOW_THREADS
        again = arena_sweep(view, lock_deadline(0)) != 0;
        Py_END_ALLOW_THREADS
    }
    while (again || may_come(draft, nbytes, status)) {
        Py_BEGIN_ALLOW_THREADS
        if (!again && status != ZI_BUSY) arena_await_space(view, draft->deadline);
        status = block_alloc(view, nbytes, kind, id, lock_deadline(draft->patience));
        Py_END_ALLOW_THREADS
        again = 0;
        if (PyErr_CheckSignals() < 0) {
            if (status == ZI_OK) block_free(view, *id);
            return ZI_INTERRUPTED;
        }
    }
    return status;
}

/* Allocate for a message, waiting for memory until the draft's deadline, and for the arena's
 * lock until its patience is over. */
int draft_alloc(zi_draft *draft, uint64_t nbytes, uint32_t kind, uint32_t *id)
{
    zi_view *view = &draft->arena->view;
    zi_status status;
    if (draft->message.nblocks == ZI_MESSAGE_BLOCKS) {
        PyErr_Format(PyExc_ValueError, "a message carries at most %d blocks", ZI_MESSAGE_BLOCKS);
        return -1;
    }
    if (nbytes < (uint64_t)ZI_BIG_COPY) {
        status = block_alloc(view, nbytes, kind, id, 0);
    } else { /* new pages take the system a while */
        Py_BEGIN_ALLOW_THREADS
        status = block_alloc(view, nbytes, kind, id, lock_deadline(draft->patience));
        Py_END_ALLOW_THREADS
    }
    if (status != ZI_OK) status = alloc_again(draft, nbytes, kind, id, status);
    if (status == ZI_INTERRUPTED) return -1;
    if (status == ZI_NO_MEMORY || status == ZI_NO_SPACE) {
        raise_no_room(draft, status, nbytes);
        return -1;
    }
    if (status != ZI_OK) {
        draft->busy = status == ZI_BUSY;
        native_raise(draft->arena->state, status, view);
        return -1;
    }
    arena_idle(draft->arena, 0);
    draft->message.blocks[draft->message.nblocks++] = *id;
    return 0;
}

/* Whether the block moves with the message already. */
int draft_lends(const zi_draft *draft, uint32_t id)
{
    for (uint32_t i = 0; i < draft->nloans; i++)
        if (draft->loans[i].block->id == id) return 1;
    return 0;
}

/* The message is the queue's now. */
void draft_sent(zi_draft *draft)
{
    Py_XDECREF(draft->keep);
    for (uint32_t i = 0; i < draft->nloans; i++) {
        draft->loans[i].block->moved = 1;
        Py_DECREF(draft->loans[i].block);
        Py_DECREF(draft->loans[i].array);
    }
}

/* The message was not sent: its blocks go back, loans stay what they were. */
void draft_dropped(zi_draft *draft)
{
    PyObject *type, *value, *trace;
    zi_view *view = &draft->arena->view;
    PyErr_Fetch(&type, &value, &trace);
    for (uint32_t i = 0; i < draft->message.nblocks; i++)
        if (!draft_lends(draft, draft->message.blocks[i])) block_free(view, draft->message.blocks[i]);
    for (uint32_t i = 0; i < draft->nloans; i++) {
        zi_loan *loan = &draft->loans[i];
        block_unlend(view, loan->block->id, view->me);
        Py_XDECREF(PyObject_CallMethodOneArg(loan->array, draft->arena->state->str_setflags, Py_True));
        Py_DECREF(loan->block);
        Py_DECREF(loan->array);
    }
    Py_XDECREF(draft->keep);
    PyErr_Restore(type, value, trace);
}
