// floor.c - how fast can this kernel start and stop one isolated container?
// clone3 with namespaces, cgroup v1 directories, overlayfs, pivot_root, proc,
// /dev, optional veth by raw netlink, execve, wait, teardown. Every step is
// stamped; medians are printed. Build: cc -O2 -static -o floor floor.c
// With -S it starts one container for each line that it reads and prints one
// line for each: nanoseconds to the application's first byte and from the kill
// to its end, then name=nanoseconds of each step. So a benchmark can
// take turns with it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAXN 20000
enum { P0, P_CGMK, P_DIRS, P_CLONE, P_ATTACH, P_VETH, P_GO, P_READY, P_KILL, P_WAIT,
       P_VDEL, P_CGRM, P_RMDIRS, C0, C_GO, C_NET, C_OVL, C_PROCDEV, C_PIVOT, C_EXEC, NST };
static const char *stname[NST] = {"", "P cgroup mkdir+limits", "P scratch mkdir", "P clone3",
  "P cgroup attach", "P veth host side", "P map/release", "P until ready byte", "P kill", "P waitpid (exec..reap)",
  "P veth delete", "P cgroup rmdir", "P scratch rmdir", "C0", "C released", "C net config",
  "C overlay mount", "C proc+dev mount", "C pivot+umount", "C caps/hostname"};

static int o_user, o_net, o_cg = 1, o_ovl = 1, o_ready, o_dev = 1, o_n = 100, o_w = 1, o_vdel, o_quiet, o_idle, o_vol, o_dirty, o_tasks, o_warm, o_keep, o_serve, nsfd = -1, o_mnt = 1, o_pid = 1;
static const char *o_root = "rootfs", *o_scratch = "scratch", *o_cgbase = "floorbench";
static const char *ctrls_def[] = {"memory", "cpu", "cpuacct", "pids", "freezer", "devices", "blkio", NULL};
static const char *ctrls_min[] = {"memory", "cpu", "pids", NULL};
static const char **ctrls = ctrls_def;
static char **o_cmd;
static uint64_t first_byte; // of the last container, as its application stamped it

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void die(const char *w) {
  fprintf(stderr, "%s: %s\n", w, strerror(errno));
  _exit(111);
}
static int wr(const char *p, const char *v) {
  int fd = open(p, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  int r = write(fd, v, strlen(v));
  close(fd);
  return r < 0 ? -1 : 0;
}

// ---- netlink
struct nlb { char b[4096]; int len; int sock; int n; };
static int nlopen(void) {
  int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  struct sockaddr_nl a = {.nl_family = AF_NETLINK};
  if (s < 0 || bind(s, (void *)&a, sizeof a)) die("netlink");
  return s;
}
static struct nlmsghdr *nlmsg(struct nlb *b, int type, int flags, void *body, int blen) {
  struct nlmsghdr *h = (void *)(b->b + b->len);
  memset(h, 0, NLMSG_SPACE(blen));
  h->nlmsg_type = type;
  h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
  h->nlmsg_len = NLMSG_LENGTH(blen);
  h->nlmsg_seq = ++b->n;
  memcpy(NLMSG_DATA(h), body, blen);
  return h;
}
static struct rtattr *at(struct nlmsghdr *h, int type, const void *d, int len) {
  struct rtattr *a = (void *)((char *)h + NLMSG_ALIGN(h->nlmsg_len));
  a->rta_type = type;
  a->rta_len = RTA_LENGTH(len);
  if (len) memcpy(RTA_DATA(a), d, len);
  h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + RTA_ALIGN(a->rta_len);
  return a;
}
static void nend(struct nlmsghdr *h, struct rtattr *a) { a->rta_len = (char *)h + h->nlmsg_len - (char *)a; }
static void done(struct nlb *b, struct nlmsghdr *h) { b->len += NLMSG_ALIGN(h->nlmsg_len); }
static int flushnl(struct nlb *b) {
  struct sockaddr_nl a = {.nl_family = AF_NETLINK};
  if (sendto(b->sock, b->b, b->len, 0, (void *)&a, sizeof a) < 0) return -1;
  char r[8192];
  int acks = 0, err = 0;
  while (acks < b->n) {
    int l = recv(b->sock, r, sizeof r, 0);
    if (l < 0) return -1;
    for (struct nlmsghdr *h = (void *)r; NLMSG_OK(h, l); h = NLMSG_NEXT(h, l))
      if (h->nlmsg_type == NLMSG_ERROR) {
        struct nlmsgerr *e = NLMSG_DATA(h);
        acks++;
        if (e->error) { err = e->error; fprintf(stderr, "netlink msg %d: %s\n", h->nlmsg_seq, strerror(-e->error)); }
      }
  }
  b->len = b->n = 0;
  return err ? -1 : 0;
}
static void msg_addr(struct nlb *b, int idx, uint32_t ip, int plen) {
  struct ifaddrmsg m = {.ifa_family = AF_INET, .ifa_prefixlen = plen, .ifa_index = idx};
  struct nlmsghdr *h = nlmsg(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);
  ip = __builtin_bswap32(ip);
  at(h, IFA_LOCAL, &ip, 4);
  at(h, IFA_ADDRESS, &ip, 4);
  done(b, h);
}
static void msg_up(struct nlb *b, int idx) {
  struct ifinfomsg m = {.ifi_index = idx, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  done(b, nlmsg(b, RTM_NEWLINK, 0, &m, sizeof m));
}
static void msg_defroute(struct nlb *b, uint32_t gw) {
  struct rtmsg m = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
                    .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST};
  struct nlmsghdr *h = nlmsg(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);
  gw = __builtin_bswap32(gw);
  at(h, RTA_GATEWAY, &gw, 4);
  done(b, h);
}
static void veth_up(int sock, int id, int nsfd_or_pid, int ispid) {
  static __thread struct nlb b;
  b.sock = sock; b.len = b.n = 0;
  int idx = 100000 + id * 2;
  char host[16], peer[16] = "eth0";
  snprintf(host, sizeof host, "vf%d", id);
  struct ifinfomsg m = {.ifi_index = idx, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  struct nlmsghdr *h = nlmsg(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);
  at(h, IFLA_IFNAME, host, strlen(host) + 1);
  struct rtattr *li = at(h, IFLA_LINKINFO, NULL, 0);
  at(h, IFLA_INFO_KIND, "veth", 5);
  struct rtattr *da = at(h, IFLA_INFO_DATA, NULL, 0);
  struct ifinfomsg pm = {.ifi_index = 2};
  struct rtattr *pe = at(h, VETH_INFO_PEER, &pm, sizeof pm);
  at(h, IFLA_IFNAME, peer, strlen(peer) + 1);
  uint32_t v = nsfd_or_pid;
  at(h, ispid ? IFLA_NET_NS_PID : IFLA_NET_NS_FD, &v, 4);
  nend(h, pe); nend(h, da); nend(h, li);
  done(&b, h);
  // 10.200.0.0/14 cut into /30s
  msg_addr(&b, idx, 0x0ac80000u + id * 4 + 1, 30);
  if (flushnl(&b)) die("veth");
}
static void veth_in(int id) {
  struct nlb b = {.sock = nlopen()};
  msg_up(&b, 1);
  msg_addr(&b, 2, 0x0ac80000u + id * 4 + 2, 30);
  msg_up(&b, 2);
  msg_defroute(&b, 0x0ac80000u + id * 4 + 1);
  if (flushnl(&b)) die("veth in");
  close(b.sock);
}
static void veth_del(int sock, int id) {
  struct nlb b = {.sock = sock};
  struct ifinfomsg m = {.ifi_index = 100000 + id * 2};
  done(&b, nlmsg(&b, RTM_DELLINK, 0, &m, sizeof m));
  flushnl(&b);
}

// ---- cgroups
static void cgpath(char *o, int n, const char *c, int id, const char *f) {
  snprintf(o, n, "/sys/fs/cgroup/%s/%s/c%d%s%s", c, o_cgbase, id, f ? "/" : "", f ? f : "");
}
static void cg_make(int id) {
  char p[300];
  for (int i = 0; ctrls[i]; i++) {
    cgpath(p, sizeof p, ctrls[i], id, NULL);
    if (mkdir(p, 0755) && errno != EEXIST) die(p);
  }
  cgpath(p, sizeof p, "memory", id, "memory.limit_in_bytes"); if (wr(p, "134217728")) die(p);
  cgpath(p, sizeof p, "cpu", id, "cpu.shares"); if (wr(p, "512")) die(p);
  cgpath(p, sizeof p, "cpu", id, "cpu.cfs_quota_us"); if (wr(p, "50000")) die(p);
  cgpath(p, sizeof p, "pids", id, "pids.max"); if (wr(p, "64")) die(p);
}
static void cg_attach(int id, int pid) {
  char p[300], v[20];
  snprintf(v, sizeof v, "%d", pid);
  for (int i = 0; ctrls[i]; i++) { cgpath(p, sizeof p, ctrls[i], id, "cgroup.procs"); if (wr(p, v)) die(p); }
}
static void cg_rm(int id) {
  char p[300];
  for (int i = 0; ctrls[i]; i++) {
    cgpath(p, sizeof p, ctrls[i], id, NULL);
    for (int t = 0; rmdir(p) && errno == EBUSY && t < 1000; t++) usleep(200);
  }
}

// ---- child
static void child(uint64_t *T, int id, int gofd, const char *merged) {
  T[C0] = now();
  char c;
  if (read(gofd, &c, 1) != 1) _exit(1);
  T[C_GO] = now();
  if (o_tasks && o_cg) for (int i = 0; ctrls[i]; i++) { char p[300]; cgpath(p, sizeof p, ctrls[i], id, "tasks"); if (wr(p, "0")) die(p); }
  if (o_warm && nsfd >= 0 && setns(nsfd, CLONE_NEWNET)) die("setns");
  if (o_net == 2 && !o_warm) veth_in(id);
  T[C_NET] = now();
  const char *newroot = merged;
  if (o_mnt) {
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) die("private");
    if (o_ovl) {
      char opt[1024];
      snprintf(opt, sizeof opt, "lowerdir=%s,upperdir=%s/../u,workdir=%s/../w%s", o_root, merged, merged, o_vol ? ",volatile" : "");
      if (mount("overlay", merged, "overlay", 0, opt)) die("overlay");
    } else {
      newroot = o_root;
      if (mount(o_root, o_root, NULL, MS_BIND | MS_REC, NULL)) die("bind");
    }
    T[C_OVL] = now();
    if (chdir(newroot)) die("chdir");
    if (o_pid && mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)) die("proc");
    if (o_dev) {
      if (mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "size=64k,mode=755")) die("dev");
      static const struct { const char *n; int ma, mi; } d[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7},
        {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
      for (int i = 0; i < 6; i++) {
        char p[40], src[40];
        snprintf(p, sizeof p, "dev/%s", d[i].n);
        if (o_user) {
          snprintf(src, sizeof src, "/dev/%s", d[i].n);
          int fd = open(p, O_CREAT | O_WRONLY, 0666); close(fd);
          if (mount(src, p, NULL, MS_BIND, NULL)) die(p);
        } else { if (mknod(p, S_IFCHR | 0666, makedev(d[i].ma, d[i].mi))) die(p); }
      }
    }
    T[C_PROCDEV] = now();
    if (syscall(SYS_pivot_root, ".", ".")) die("pivot_root");
    if (umount2(".", MNT_DETACH)) die("umount old");
    if (chdir("/")) die("chdir /");
    T[C_PIVOT] = now();
  } else T[C_OVL] = T[C_PROCDEV] = T[C_PIVOT] = now();
  sethostname("floor", 5);
  for (int i = 0; i <= 40; i++) prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  T[C_EXEC] = now();
  execve(o_cmd[0], o_cmd, (char *[]){"PATH=/bin:/usr/bin", NULL});
  die("execve");
}

static void one(uint64_t *T, int id, int nlsock) {
  char merged[400], p[420];
  int go[2], rd[2] = {-1, -1};
  if (o_dirty) { snprintf(p, sizeof p, "%s/dirty", o_scratch); int fd = open(p, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600); static char z[65536]; if (write(fd, z, sizeof z) < 0) die(p); close(fd); }
  if (o_warm) {
    if (o_cg) cg_make(id);
    if (o_net) {
      int up[2], dn[2]; char b;
      if (pipe(up) || pipe(dn)) die("pipe");
      pid_t h = fork();
      if (!h) {
        if (unshare(CLONE_NEWNET)) die("unshare");
        if (write(up[1], "x", 1) != 1 || read(dn[0], &b, 1) != 1) die("pipe");
        if (o_net == 2) veth_in(id);
        _exit(0);
      }
      if (read(up[0], &b, 1) != 1) die("helper");
      snprintf(p, sizeof p, "/proc/%d/ns/net", h);
      nsfd = open(p, O_RDONLY | O_CLOEXEC);
      if (o_net == 2) veth_up(nlsock, id, nsfd, 0);
      if (write(dn[1], "x", 1) != 1) die("pipe");
      waitpid(h, NULL, 0);
      close(up[0]); close(up[1]); close(dn[0]); close(dn[1]);
    }
    usleep(5000);
  }
  T[P0] = now();
  if (o_cg && !o_warm) cg_make(id);
  T[P_CGMK] = now();
  snprintf(merged, sizeof merged, "%s/c%d/m", o_scratch, id);
  if (o_ovl) {
    snprintf(p, sizeof p, "%s/c%d", o_scratch, id); mkdir(p, 0755);
    mkdir(merged, 0755);
    snprintf(p, sizeof p, "%s/c%d/u", o_scratch, id); mkdir(p, 0755);
    snprintf(p, sizeof p, "%s/c%d/w", o_scratch, id); mkdir(p, 0755);
  }
  if (pipe2(go, O_CLOEXEC)) die("pipe");
  if (o_ready && pipe2(rd, O_CLOEXEC)) die("pipe");
  T[P_DIRS] = now();
  int pidfd = -1;
  struct clone_args ca = {0};
  ca.flags = CLONE_PIDFD | CLONE_NEWUTS | CLONE_NEWIPC;
  if (o_mnt) ca.flags |= CLONE_NEWNS;
  if (o_pid) ca.flags |= CLONE_NEWPID;
  if (o_net && !o_warm) ca.flags |= CLONE_NEWNET;
  if (o_user) ca.flags |= CLONE_NEWUSER;
  ca.pidfd = (uintptr_t)&pidfd;
  ca.exit_signal = SIGCHLD;
  pid_t pid = syscall(SYS_clone3, &ca, sizeof ca);
  if (pid < 0) die("clone3");
  if (pid == 0) {
    if (o_ready) { dup2(rd[1], 1); }
    child(T, id, go[0], merged);
  }
  T[P_CLONE] = now();
  if (o_cg && !o_tasks) cg_attach(id, pid);
  T[P_ATTACH] = now();
  if (o_net == 2 && !o_warm) veth_up(nlsock, id, pid, 1);
  T[P_VETH] = now();
  if (o_user) {
    snprintf(p, sizeof p, "/proc/%d/uid_map", pid); if (wr(p, "0 0 65536\n")) die(p);
    snprintf(p, sizeof p, "/proc/%d/gid_map", pid); if (wr(p, "0 0 65536\n")) die(p);
  }
  close(go[0]);
  if (write(go[1], "x", 1) != 1) die("go");
  close(go[1]);
  T[P_GO] = now();
  if (o_ready) {
    close(rd[1]);
    char line[32] = "";
    if (read(rd[0], line, sizeof line - 1) < 1) { fprintf(stderr, "no ready byte\n"); }
    first_byte = strtoull(line, NULL, 10);
    close(rd[0]);
    T[P_READY] = now();
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
  } else T[P_READY] = T[P_GO];
  T[P_KILL] = now();
  int st;
  if (waitpid(pid, &st, 0) < 0) die("waitpid");
  T[P_WAIT] = now();
  if (!o_ready && (!WIFEXITED(st) || WEXITSTATUS(st))) { fprintf(stderr, "container %d: status %x\n", id, st); _exit(3); }
  close(pidfd);
  if (o_net == 2 && o_vdel) veth_del(nlsock, id);
  T[P_VDEL] = now();
  if (o_cg) cg_rm(id);
  T[P_CGRM] = now();
  if (o_ovl && !o_keep) {
    if (o_vol) { snprintf(p, sizeof p, "%s/c%d/w/work/incompat/volatile/dirty", o_scratch, id); unlink(p); snprintf(p, sizeof p, "%s/c%d/w/work/incompat/volatile", o_scratch, id); rmdir(p); snprintf(p, sizeof p, "%s/c%d/w/work/incompat", o_scratch, id); rmdir(p); }
    snprintf(p, sizeof p, "%s/c%d/w/work", o_scratch, id); rmdir(p);
    snprintf(p, sizeof p, "%s/c%d/w", o_scratch, id); rmdir(p);
    snprintf(p, sizeof p, "%s/c%d/u", o_scratch, id); rmdir(p);
    rmdir(merged);
    snprintf(p, sizeof p, "%s/c%d", o_scratch, id); rmdir(p);
  }
  T[P_RMDIRS] = now();
  if (o_warm && nsfd >= 0) { close(nsfd); nsfd = -1; }
}

// serve makes a container for each line of standard input.
static int serve(uint64_t *T) {
  int nl = o_net == 2 ? nlopen() : -1;
  char line[64];
  for (int id = 0; fgets(line, sizeof line, stdin); id = (id + 1) % 4096) {
    memset(T, 0, sizeof(uint64_t) * NST);
    one(T, id, nl);
    if (!o_ready) first_byte = T[P_WAIT];
    printf("%llu %llu", (unsigned long long)(first_byte - T[P0]), (unsigned long long)(T[P_WAIT] - T[P_READY]));
    static const struct { const char *name; int from, to; } step[] = {
      {"cgroup", P0, P_CGMK}, {"folders", P_CGMK, P_DIRS}, {"clone", P_DIRS, P_CLONE}, {"link", P_ATTACH, P_VETH},
      {"map", P_VETH, P_GO}, {"wake", P_GO, C_GO}, {"join", C_GO, C_NET}, {"overlay", C_NET, C_OVL}, {"proc+dev", C_OVL, C_PROCDEV},
      {"pivot", C_PROCDEV, C_PIVOT}, {"caps", C_PIVOT, C_EXEC}};
    for (unsigned i = 0; i < sizeof step / sizeof *step; i++)
      printf(" %s=%lld", step[i].name, (long long)(T[step[i].to] - T[step[i].from]));
    if (o_ready) printf(" exec=%llu", (unsigned long long)(first_byte - T[C_EXEC]));
    printf("\n");
    fflush(stdout);
  }
  return 0;
}

static int cmp(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return x < y ? -1 : x > y; }
static double pct(double *v, int n, double p) { qsort(v, n, sizeof *v, cmp); int i = p * (n - 1) + .5; return v[i]; }

int main(int argc, char **argv) {
  int ch;
  while ((ch = getopt(argc, argv, "+n:w:r:s:b:UN:C:OMPDLVqi:vdtKxS")) != -1) switch (ch) {
    case 'n': o_n = atoi(optarg); break;
    case 'w': o_w = atoi(optarg); break;
    case 'r': o_root = realpath(optarg, NULL); break;
    case 's': o_scratch = realpath(optarg, NULL); break;
    case 'b': o_cgbase = optarg; break;
    case 'U': o_user = 1; break;
    case 'N': o_net = atoi(optarg); break;   // 0 share, 1 new netns, 2 new netns + veth
    case 'C': o_cg = atoi(optarg); if (o_cg == 3) ctrls = ctrls_min; break; // 0 none, 1 seven controllers, 3 memory,cpu,pids
    case 'O': o_ovl = 0; break;              // bind instead of overlay
    case 'M': o_mnt = 0; o_ovl = 0; break;   // no mount namespace
    case 'P': o_pid = 0; break;
    case 'D': o_dev = 0; break;
    case 'L': o_ready = 1; break;            // command writes a byte and stays; then it is killed
    case 'V': o_vdel = 1; break;             // delete veth explicitly
    case 'q': o_quiet = 1; break;
    case 't': o_tasks = 1; break;        // the child enters its cgroups itself: "0" to each tasks file
    case 'K': o_warm = o_tasks = 1; break; // cgroups, scratch, netns+veth made before the clock starts
    case 'x': o_keep = 1; break;         // leave the scratch directory (deleted later, off the clock)
    case 'S': o_serve = 1; break;        // one container for each line read
    case 'v': o_vol = 1; break;          // overlay "volatile": no syncfs of the upper at unmount
    case 'd': o_dirty = 1; break;        // dirty the scratch filesystem before each container
    case 'i': o_idle = atoi(optarg); break; // ms to sleep between containers
    default: return 2;
  }
  static char *def[] = {"/bin/true", NULL};
  o_cmd = optind < argc ? argv + optind : def;
  if (o_cg) for (int i = 0; ctrls[i]; i++) {
    char p[300]; snprintf(p, sizeof p, "/sys/fs/cgroup/%s/%s", ctrls[i], o_cgbase);
    if (mkdir(p, 0755) && errno != EEXIST) die(p);
  }
  uint64_t(*T)[NST] = mmap(NULL, sizeof(uint64_t) * NST * MAXN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (o_serve) {
    int end = serve(T[0]);
    if (o_cg) for (int i = 0; ctrls[i]; i++) {
      char p[300]; snprintf(p, sizeof p, "/sys/fs/cgroup/%s/%s", ctrls[i], o_cgbase); rmdir(p);
    }
    return end;
  }
  uint64_t s = now();
  if (o_w == 1) {
    int nl = o_net == 2 ? nlopen() : -1;
    for (int i = 0; i < o_n; i++) { one(T[i], i, nl); if (o_idle) usleep(o_idle * 1000); }
  } else {
    for (int w = 0; w < o_w; w++)
      if (fork() == 0) {
        int nl = o_net == 2 ? nlopen() : -1;
        for (int i = w; i < o_n; i += o_w) one(T[i], i, nl);
        _exit(0);
      }
    while (wait(NULL) > 0);
  }
  double tot = (now() - s) / 1e9;
  if (o_cg) for (int i = 0; ctrls[i]; i++) {
    char p[300]; snprintf(p, sizeof p, "/sys/fs/cgroup/%s/%s", ctrls[i], o_cgbase); rmdir(p);
  }
  static double v[MAXN];
#define D(a, b) ({ for (int i = 0; i < o_n; i++) v[i] = ((double)T[i][a] - (double)T[i][b]) / 1e6; })
  if (!o_quiet) {
    int prev = P0;
    printf("%-26s %8s %8s %8s  ms\n", "step", "p50", "p90", "min");
    for (int k = P_CGMK; k <= P_RMDIRS; k++) { D(k, prev); prev = k; double m = pct(v, o_n, .5); printf("%-26s %8.3f %8.3f %8.3f\n", stname[k], m, pct(v, o_n, .9), pct(v, o_n, 0)); }
    D(C0, P_DIRS); printf("%-26s %8.3f\n", "C first instruction", pct(v, o_n, .5));
    prev = C_GO;
    for (int k = C_NET; k < NST; k++) { D(k, prev); prev = k; double m = pct(v, o_n, .5); printf("%-26s %8.3f %8.3f %8.3f\n", stname[k], m, pct(v, o_n, .9), pct(v, o_n, 0)); }
    D(P_WAIT, C_EXEC); printf("%-26s %8.3f %8.3f\n", "execve..reaped", pct(v, o_n, .5), pct(v, o_n, .9));
  }
  D(C_EXEC, P0); double toexec = pct(v, o_n, .5);
  D(P_WAIT, P0); double a = pct(v, o_n, .5), a9 = pct(v, o_n, .9);
  D(P_READY, P0); double r = pct(v, o_n, .5);
  D(P_READY, P_GO); double g = pct(v, o_n, .5);
  D(P_RMDIRS, P_KILL); double d = pct(v, o_n, .5);
  D(P_RMDIRS, P0); double f = pct(v, o_n, .5);
  printf("start->execve %.3f  start->exit p50 %.3f p90 %.3f  ", toexec, a, a9);
  if (o_ready) printf("start->ready %.3f  kill->gone %.3f  release->ready %.3f  ", r, d, g);
  printf("whole cycle %.3f ms; %d in %.3f s = %.1f /s\n", f, o_n, tot, o_n / tot);
  return 0;
}
