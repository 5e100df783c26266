/*
 * A wire between two network namespaces: a TUN device in each, and this process, which carries packets from one to the
 * other after a fixed time. Unlike a relay it delays everything, the handshakes and acknowledgements as well.
 *
 *   delay-link NETNS_FILE_A NETNS_FILE_B     makes "wire" in both, prints "ready", then takes lines from its input:
 *                                            the delay each way in microseconds (0 at first)
 * Ends when its input ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define MAX_PACKET 65536u
#define RING_BYTES (64u << 20)
#define BURST 64

struct head { int64_t due; uint32_t size; uint32_t padding; };

/* Packets from one device for the other, each behind its head; none is split at the ring's end. */
struct lane { int from, to; char *ring; uint64_t in, out; };

static int64_t delay_ns;

static void die(const char *what) { perror(what); exit(1); }

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int open_tun(const char *netns) {
  struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
  int ns = open(netns, O_RDONLY | O_CLOEXEC), fd;
  if (ns < 0 || setns(ns, CLONE_NEWNET)) die(netns);
  close(ns);
  fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  strcpy(request.ifr_name, "wire");
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request)) die("/dev/net/tun");
  return fd;
}

static struct lane open_lane(int from, int to) {
  struct lane lane = { .from = from, .to = to };
  lane.ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (lane.ring == MAP_FAILED) die("memory");
  return lane;
}

#define SLOT (sizeof(struct head) + MAX_PACKET)

/* Where the next packet goes: near the end of the ring there is no room for a whole one, and it is skipped. */
static uint64_t place(uint64_t at) { return RING_BYTES - at % RING_BYTES < SLOT ? at + RING_BYTES - at % RING_BYTES : at; }

static int has_room(const struct lane *lane) { return place(lane->in) + SLOT - lane->out <= RING_BYTES; }

static void take(struct lane *lane) {
  for (int i = 0; i < BURST && has_room(lane); i++) {
    lane->in = place(lane->in);
    struct head *head = (void *)(lane->ring + lane->in % RING_BYTES);
    ssize_t size = read(lane->from, head + 1, MAX_PACKET);
    if (size <= 0) return;
    head->due = now_ns() + delay_ns;
    head->size = size;
    lane->in += (sizeof *head + size + 15) & ~15ull;
  }
}

/* Sends what is due; answers when the next packet is, or 0. */
static int64_t give(struct lane *lane) {
  while (lane->out < lane->in) {
    uint64_t at = place(lane->out);
    if (at >= lane->in) { lane->out = lane->in; break; }
    struct head *head = (void *)(lane->ring + at % RING_BYTES);
    if (head->due > now_ns()) return head->due;
    if (write(lane->to, head + 1, head->size) < 0 && errno == EAGAIN) return now_ns() + 50000;
    lane->out = at + ((sizeof *head + head->size + 15) & ~15ull);
  }
  return 0;
}

/* 0 when the input has ended. */
static int obey(void) {
  char line[64];
  ssize_t size = read(0, line, sizeof line - 1);
  if (size <= 0) return size < 0 && errno == EAGAIN;
  line[size] = 0;
  delay_ns = atoll(line) * 1000;
  printf("ready\n");
  fflush(stdout);
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_TIMERSLACK, 1);
  int a = open_tun(argv[1]), b = open_tun(argv[2]);
  struct lane there = open_lane(a, b), back = open_lane(b, a);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    int64_t first = give(&there), second = give(&back), now = now_ns();
    int64_t wake = !first || (second && second < first) ? second : first;
    int64_t left = !wake ? 1000000000ll : wake > now ? wake - now : 0;
    struct timespec wait = { left / 1000000000ll, left % 1000000000ll };
    struct pollfd fds[3] = {
      { .fd = 0, .events = POLLIN },
      { .fd = has_room(&there) ? a : -1, .events = POLLIN },
      { .fd = has_room(&back) ? b : -1, .events = POLLIN },
    };
    if (ppoll(fds, 3, &wait, NULL) < 0 && errno != EINTR) die("poll");
    if (fds[0].revents && !obey()) return 0;
    if (fds[1].revents) take(&there);
    if (fds[2].revents) take(&back);
  }
}
