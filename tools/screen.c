/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tools/command.h"

#define WIDTH_LEAST 80

/* The other screen, no cursor, no wrapping of lines; and back. */
static const char enter[] = "\033[?1049h\033[?25l\033[?7l";
static const char leave[] = "\033[?7h\033[?25h\033[?1049l";

static struct {
    bool terminal; /* stdout is one */
    bool keys;     /* stdin is one */
    struct termios before;
} screen;

/* ---- the terminal, also in handlers of signals ---- */

static void terminal_write(const char *text)
{
    ssize_t wrote = write(STDOUT_FILENO, text, strlen(text));
    (void)wrote; /* a terminal that has gone needs no repair */
}

static void terminal_take(void)
{
    if (screen.keys) {
        struct termios raw = screen.before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    }
    terminal_write(enter);
}

static void terminal_give_back(void)
{
    terminal_write(leave);
    if (screen.keys)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &screen.before);
}

static void on_end(int number)
{
    terminal_give_back();
    signal(number, SIG_DFL);
    raise(number);
}

static void on_stop(int number);

static void handle_signal(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, old;
    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
}

/* It stops inside of raise, and goes on behind it. */
static void on_stop(int number)
{
    int error = errno;
    terminal_give_back();
    signal(number, SIG_DFL);
    raise(number);
    handle_signal(number, on_stop, SA_NODEFER);
    terminal_take();
    errno = error;
}

static void on_size(int number)
{
    (void)number; /* it ends the poll */
}

void screen_begin(void)
{
    screen.terminal = isatty(STDOUT_FILENO);
    screen.keys = screen.terminal && tcgetattr(STDIN_FILENO, &screen.before) == 0;
    if (!screen.terminal)
        return;
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        handle_signal(ends[i], on_end, 0);
    handle_signal(SIGTSTP, on_stop, SA_NODEFER);
    handle_signal(SIGWINCH, on_size, 0);
    terminal_take();
}

void screen_end(void)
{
    if (screen.terminal)
        terminal_give_back();
    screen.terminal = false;
}

bool screen_is_terminal(void)
{
    return screen.terminal;
}

/* ---- drawing ---- */

static size_t terminal_size(bool rows, size_t otherwise)
{
    struct winsize size;
    if (!screen.terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        return otherwise;
    size_t found = rows ? size.ws_row : size.ws_col;
    return found > 0 ? found : otherwise;
}

size_t screen_width(void)
{
    size_t width = terminal_size(false, WIDTH_LEAST);
    return width > WIDTH_LEAST ? width : WIDTH_LEAST;
}

static size_t count_lines(const char *text)
{
    size_t count = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        count++;
    return count;
}

bool screen_show(const char *text)
{
    size_t rows = terminal_size(true, 24), lines = count_lines(text);
    size_t shown = lines < rows ? lines : rows > 2 ? rows - 2 : 0;
    if (!screen.terminal) {
        fputs(text, stdout);
        return fflush(stdout) == 0 && !ferror(stdout);
    }
    fputs("\033[H", stdout);
    for (size_t i = 0; i < shown; i++) {
        size_t len = strcspn(text, "\n");
        printf("%.*s\033[K\n", (int)len, text);
        text += len + 1;
    }
    if (shown < lines)
        printf("(%zu more lines)\033[K\n", lines - shown);
    fputs("\033[J", stdout);
    return fflush(stdout) == 0 && !ferror(stdout);
}

/* ---- keys ---- */

/* An arrow is ESC [ A and so on, which comes at once. */
static int read_key(void)
{
    unsigned char bytes[8];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof(bytes));
    if (got <= 0) {
        screen.keys = screen.keys && got < 0 && errno == EINTR;
        return SCREEN_TIME;
    }
    if (got < 3 || bytes[0] != '\033')
        return bytes[0];
    switch (bytes[2]) {
    case 'A':
        return SCREEN_UP;
    case 'B':
        return SCREEN_DOWN;
    case 'C':
        return SCREEN_RIGHT;
    case 'D':
        return SCREEN_LEFT;
    default:
        return SCREEN_TIME;
    }
}

int screen_wait(int ms)
{
    struct pollfd p = {.fd = screen.keys ? STDIN_FILENO : -1, .events = POLLIN};
    int ready = poll(&p, 1, ms > 0 ? ms : 0);
    if (ready < 0)
        return SCREEN_SIZE;
    return ready == 0 ? SCREEN_TIME : read_key();
}
