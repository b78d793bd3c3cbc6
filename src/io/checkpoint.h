/* checkpoint.h: what checkpoint.c and checkpoints.c share. */
#ifndef ACR_IO_CHECKPOINT_H
#define ACR_IO_CHECKPOINT_H

#include <accrue/accrue_io.h>

/* The checkpoint owns the note from now on (acr__alloc). */
void acr__checkpoint_note_take(acr_checkpoint *c, char *note);

#endif
