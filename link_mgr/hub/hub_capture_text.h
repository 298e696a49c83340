/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hub_capture_text.h - what a captured frame says: its ports, and the rest in words. */
#ifndef IDC_HUB_CAPTURE_TEXT_H
#define IDC_HUB_CAPTURE_TEXT_H

#include "common/capture.h"
#include "link_mgr/core/capture.h"

struct capture_words {
    char text[CAPTURE_TEXT_MAX]; /* record->text_length bytes of it */
    struct spans data;           /* record->length bytes: the program's part of a DATA_ind */
};

/* Fills in what the frame says. The bytes in the ring are copied before they are looked at. */
void hub_capture_describe(const struct capture_frame *shown, struct capture_record *record,
                          struct capture_words *words);

#endif
