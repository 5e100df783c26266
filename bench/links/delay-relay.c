/*
 * A TCP relay on 127.0.0.1 that hands every byte on after a fixed time, each way, and limits nothing else: a long line
 * with as much bandwidth as this process can move. Also the two ends to measure that with.
 *
 *   delay-relay relay TARGET_PORT DELAY_MICROSECONDS   prints the port it listens on
 *   delay-relay sink                                   prints the port it listens on; reads to the end, then closes
 *   delay-relay blast PORT BYTES                       sends so many bytes and waits for the far side's end
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define RING_BYTES (64u << 20) /* 2.6 GB/s at 25 ms each way: more than two processors can encrypt */
#define READ_BYTES (256u << 10)
#define MARKS 65536u
#define PAIRS 16

struct mark { uint64_t end; int64_t due; };

/* One direction: bytes [tail, head) wait in the ring, marks say until when. */
struct flow {
  int from, to;
  char *ring;
  uint64_t head, tail;
  struct mark *marks;
  uint32_t first, last;
  int64_t eof_due; /* 0 while the source is open */
  int closed;      /* the end has been handed on */
};

struct pair { int used; struct flow flows[2]; };

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void die(const char *what) { perror(what); exit(1); }

static int listen_here(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof at;
  if (fd < 0 || bind(fd, (void *)&at, size) || listen(fd, 64) || getsockname(fd, (void *)&at, &size)) die("listen");
  printf("%d\n", ntohs(at.sin_port));
  fflush(stdout);
  return fd;
}

static int connect_to(int port) {
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port) };
  if (fd < 0 || connect(fd, (void *)&at, sizeof at)) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static void open_flow(struct flow *flow, int from, int to) {
  *flow = (struct flow){ .from = from, .to = to };
  flow->ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  flow->marks = malloc(MARKS * sizeof *flow->marks);
  if (flow->ring == MAP_FAILED || !flow->marks) die("memory");
}

static void close_pair(struct pair *pair) {
  for (int i = 0; i < 2; i++) {
    munmap(pair->flows[i].ring, RING_BYTES);
    free(pair->flows[i].marks);
  }
  close(pair->flows[0].from);
  close(pair->flows[0].to);
  pair->used = 0;
}

static int has_room(const struct flow *f) {
  return !f->eof_due && f->head - f->tail <= RING_BYTES - READ_BYTES && f->last - f->first < MARKS - 1;
}

/* Bytes that may go out now. */
static uint64_t due_end(struct flow *f, int64_t now) {
  uint64_t end = f->tail;
  while (f->first != f->last && f->marks[f->first % MARKS].due <= now) end = f->marks[f->first++ % MARKS].end;
  return end;
}

static int fill(struct flow *f, int64_t delay) {
  uint32_t at = f->head % RING_BYTES;
  uint32_t room = RING_BYTES - at < READ_BYTES ? RING_BYTES - at : READ_BYTES;
  ssize_t got = read(f->from, f->ring + at, room);
  if (got < 0) return errno == EAGAIN ? 0 : -1;
  if (got == 0) { f->eof_due = now_ns() + delay; return 0; }
  f->head += got;
  f->marks[f->last++ % MARKS] = (struct mark){ f->head, now_ns() + delay };
  return 0;
}

static int drain(struct flow *f, uint64_t end) {
  while (f->tail < end) {
    uint32_t at = f->tail % RING_BYTES;
    uint64_t size = end - f->tail;
    if (size > RING_BYTES - at) size = RING_BYTES - at;
    ssize_t put = write(f->to, f->ring + at, size);
    if (put < 0) return errno == EAGAIN ? 0 : -1;
    f->tail += put;
  }
  return 0;
}

static void relay(int target, int64_t delay) {
  static struct pair pairs[PAIRS];
  static uint64_t due[PAIRS][2]; /* what is due and was not taken yet */
  int server = listen_here();
  for (;;) {
    struct pollfd fds[1 + PAIRS * 2] = { { .fd = server, .events = POLLIN } };
    int64_t now = now_ns(), wake = now + 1000000000ll;
    for (int p = 0; p < PAIRS; p++) {
      struct pollfd *slot = fds + 1 + p * 2;
      slot[0].fd = slot[1].fd = -1;
      if (!pairs[p].used) continue;
      for (int i = 0; i < 2; i++) {
        struct flow *f = &pairs[p].flows[i];
        slot[i].fd = f->from;
        if (has_room(f)) slot[i].events |= POLLIN;
        if (due[p][i] > f->tail) slot[!i].events |= POLLOUT;
        if (f->first != f->last && f->marks[f->first % MARKS].due < wake) wake = f->marks[f->first % MARKS].due;
        if (f->eof_due && !f->closed && f->eof_due < wake) wake = f->eof_due;
      }
      for (int i = 0; i < 2; i++) if (!slot[i].events) slot[i].fd = -1;
    }
    int64_t left = wake > now ? wake - now : 0;
    struct timespec wait = { left / 1000000000ll, left % 1000000000ll };
    if (ppoll(fds, 1 + PAIRS * 2, &wait, NULL) < 0 && errno != EINTR) die("poll");
    if (fds[0].revents) {
      int near = accept4(server, NULL, NULL, SOCK_CLOEXEC), one = 1;
      for (int p = 0; near >= 0 && p < PAIRS; p++) {
        if (pairs[p].used) continue;
        int far = connect_to(target);
        setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(near, F_SETFL, O_NONBLOCK);
        fcntl(far, F_SETFL, O_NONBLOCK);
        open_flow(&pairs[p].flows[0], near, far);
        open_flow(&pairs[p].flows[1], far, near);
        due[p][0] = due[p][1] = 0;
        pairs[p].used = 1;
        near = -1;
      }
      if (near >= 0) close(near);
    }
    now = now_ns();
    for (int p = 0; p < PAIRS; p++) {
      if (!pairs[p].used) continue;
      int broken = 0;
      for (int i = 0; i < 2; i++) {
        struct flow *f = &pairs[p].flows[i];
        if (has_room(f) && (fds[1 + p * 2 + i].revents & (POLLIN | POLLHUP | POLLERR))) broken |= fill(f, delay);
        uint64_t end = due_end(f, now);
        if (end > due[p][i]) due[p][i] = end;
        if (due[p][i] > f->tail) broken |= drain(f, due[p][i]);
        if (f->eof_due && !f->closed && f->eof_due <= now && f->tail == f->head) {
          shutdown(f->to, SHUT_WR);
          f->closed = 1;
        }
      }
      if (broken || (pairs[p].flows[0].closed && pairs[p].flows[1].closed)) close_pair(&pairs[p]);
    }
  }
}

static void sink(void) {
  int server = listen_here();
  char *buffer = malloc(READ_BYTES);
  for (;;) {
    int fd = accept(server, NULL, NULL);
    if (fd < 0) die("accept");
    while (read(fd, buffer, READ_BYTES) > 0) { }
    close(fd);
  }
}

static void blast(int port, uint64_t bytes) {
  int fd = connect_to(port);
  char *buffer = calloc(1, READ_BYTES);
  while (bytes > 0) {
    ssize_t put = write(fd, buffer, bytes < READ_BYTES ? bytes : READ_BYTES);
    if (put < 0) die("write");
    bytes -= put;
  }
  shutdown(fd, SHUT_WR);
  while (read(fd, buffer, READ_BYTES) > 0) { }
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (argc == 4 && !strcmp(argv[1], "relay")) relay(atoi(argv[2]), atoll(argv[3]) * 1000);
  else if (argc == 2 && !strcmp(argv[1], "sink")) sink();
  else if (argc == 4 && !strcmp(argv[1], "blast")) blast(atoi(argv[2]), strtoull(argv[3], NULL, 10));
  else return 2;
  return 0;
}
