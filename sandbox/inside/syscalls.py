"""Numbers of system calls by name, for x86_64 and aarch64, and which of them a sandbox allows, refuses or kills for.

What is in no group is refused with EPERM. Names that a processor does not have are left out there.
"""

from __future__ import annotations

_TABLE = """
read:0:63 write:1:64 readv:19:65 writev:20:66 pread64:17:67 pwrite64:18:68 preadv:295:69 pwritev:296:70
preadv2:327:286 pwritev2:328:287 sendfile:40:71 copy_file_range:326:285 splice:275:76 tee:276:77 open:2:-
openat:257:56 openat2:437:437 creat:85:- close:3:57 close_range:436:436 dup:32:23 dup2:33:- dup3:292:24 lseek:8:62
fsync:74:82 fdatasync:75:83 ftruncate:77:46 truncate:76:45 fallocate:285:47 fadvise64:221:223 stat:4:- fstat:5:80
lstat:6:- newfstatat:262:79 statx:332:291 statfs:137:43 fstatfs:138:44 access:21:- faccessat:269:48
faccessat2:439:439 readlink:89:- readlinkat:267:78 getdents:78:- getdents64:217:61 getcwd:79:17 chdir:80:49
fchdir:81:50 umask:95:166 rename:82:- renameat:264:38 renameat2:316:276 mkdir:83:- mkdirat:258:34 rmdir:84:-
unlink:87:- unlinkat:263:35 link:86:- linkat:265:37 symlink:88:- symlinkat:266:36 getxattr:191:8 lgetxattr:192:9
fgetxattr:193:10 listxattr:194:11 llistxattr:195:12 flistxattr:196:13 flock:73:32 mmap:9:222 munmap:11:215
mprotect:10:226 mremap:25:216 madvise:28:233 brk:12:214 msync:26:227 mincore:27:232 poll:7:- ppoll:271:73
select:23:- pselect6:270:72 epoll_create:213:- epoll_create1:291:20 epoll_ctl:233:21 epoll_wait:232:-
epoll_pwait:281:22 epoll_pwait2:441:441 eventfd:284:- eventfd2:290:19 pipe:22:- pipe2:293:59 rt_sigaction:13:134
rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigpending:127:136 rt_sigsuspend:130:133 rt_sigtimedwait:128:137
sigaltstack:131:132 restart_syscall:219:128 pause:34:- alarm:37:- setitimer:38:103 getitimer:36:102 nanosleep:35:101
clock_nanosleep:230:115 clock_gettime:228:113 clock_getres:229:114 gettimeofday:96:169 time:201:- times:100:153
getrusage:98:165 getcpu:309:168 futex:202:98 set_robust_list:273:99 get_robust_list:274:100 set_tid_address:218:96
rseq:334:293 membarrier:324:283 arch_prctl:158:- sched_yield:24:124 getrandom:318:278 getpid:39:172 getppid:110:173
gettid:186:178 getuid:102:174 geteuid:107:175 getgid:104:176 getegid:108:177 getresuid:118:148 getresgid:120:150
getgroups:115:158 getpgrp:111:- getpgid:121:155 getsid:124:156 uname:63:160 sysinfo:99:179 getrlimit:97:163
getpriority:140:141 sched_getaffinity:204:123 sched_getparam:143:121 sched_getscheduler:145:120
sched_get_priority_max:146:125 sched_get_priority_min:147:126 kill:62:129 tkill:200:130 tgkill:234:131 exit:60:93
exit_group:231:94 wait4:61:260 waitid:247:95 sendto:44:206 recvfrom:45:207 sendmsg:46:211 recvmsg:47:212
shutdown:48:210 getsockname:51:204 getpeername:52:205 getsockopt:55:209 setsockopt:54:208 fork:57:- vfork:58:-
clone:56:220 setsid:112:157 setpgid:109:154 setrlimit:160:164 prlimit64:302:261 pidfd_open:434:434
memfd_create:319:279 prctl:157:167 seccomp:317:277 landlock_restrict_self:446:446 ioctl:16:29 fcntl:72:25
socketpair:53:199 chmod:90:- fchmod:91:52 fchmodat:268:53 fchmodat2:452:452 utime:132:- utimes:235:-
utimensat:280:88 futimesat:261:- ptrace:101:117 process_vm_readv:310:270 process_vm_writev:311:271
process_madvise:440:440 kcmp:312:272 pidfd_getfd:438:438 mount:165:40 umount2:166:39 pivot_root:155:41 chroot:161:51
move_mount:429:429 open_tree:428:428 fsopen:430:430 fsconfig:431:431 fsmount:432:432 fspick:433:433
mount_setattr:442:442 unshare:272:97 setns:308:268 bpf:321:280 io_uring_setup:425:425 io_uring_enter:426:426
io_uring_register:427:427 keyctl:250:219 add_key:248:217 request_key:249:218 userfaultfd:323:282
perf_event_open:298:241 open_by_handle_at:304:265 kexec_load:246:104 kexec_file_load:320:294 init_module:175:105
finit_module:313:273 delete_module:176:106 swapon:167:224 swapoff:168:225 reboot:169:142 acct:163:89
settimeofday:164:170 clock_settime:227:112 clock_adjtime:305:266 adjtimex:159:171 iopl:172:- ioperm:173:-
modify_ldt:154:- quotactl:179:60 sethostname:170:161 setdomainname:171:162 clone3:435:435 execve:59:221
execveat:322:281 socket:41:198 setuid:105:146
"""


def _names(text: str) -> list[str]:
    return text.split()


NUMBERS: dict[str, dict[str, int]] = {"x86_64": {}, "aarch64": {}}
"""Number by processor and name."""
for _row in _TABLE.split():
    _name, _x86_64, _aarch64 = _row.split(":")
    if _x86_64 != "-":
        NUMBERS["x86_64"][_name] = int(_x86_64)
    if _aarch64 != "-":
        NUMBERS["aarch64"][_name] = int(_aarch64)

FILES = _names("""
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 sendfile copy_file_range splice tee
    open openat openat2 creat close close_range dup dup2 dup3 lseek fsync fdatasync ftruncate truncate fallocate
    fadvise64 stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat getdents
    getdents64 getcwd chdir fchdir umask rename renameat renameat2 mkdir mkdirat rmdir unlink unlinkat link linkat
    symlink symlinkat getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr flock pipe pipe2
    poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2
    sendto recvfrom sendmsg recvmsg shutdown getsockname getpeername getsockopt setsockopt
""")
"""Files, pipes and the two ends of a socket pair: there is no other socket."""

PROCESS = _names("""
    mmap munmap mprotect mremap madvise brk msync mincore rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending
    rt_sigsuspend rt_sigtimedwait sigaltstack restart_syscall pause alarm setitimer getitimer nanosleep clock_nanosleep
    clock_gettime clock_getres gettimeofday time times getrusage getcpu futex set_robust_list get_robust_list
    set_tid_address rseq membarrier arch_prctl sched_yield getrandom getpid getppid gettid getuid geteuid getgid getegid
    getresuid getresgid getgroups getpgrp getpgid getsid uname sysinfo getrlimit setrlimit getpriority sched_getaffinity
    sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min kill tkill tgkill exit exit_group
    wait4 waitid
""")
"""A process's own memory, signals, time and threads."""

MODES = _names("chmod fchmod fchmodat fchmodat2 utime utimes utimensat futimesat")
"""What Landlock does not govern: for candidates only where a file system of their own does."""

ZYGOTE = _names("fork vfork clone setsid pidfd_open memfd_create prctl landlock_restrict_self")
"""What the zygote needs to fork and set up a run, and a run is then refused."""

KILLED = _names("""
    ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd mount umount2 pivot_root chroot
    move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr unshare setns bpf io_uring_setup io_uring_enter
    io_uring_register keyctl add_key request_key userfaultfd perf_event_open open_by_handle_at kexec_load
    kexec_file_load init_module finit_module delete_module swapon swapoff reboot acct settimeofday clock_settime
    clock_adjtime adjtimex iopl ioperm modify_ldt quotactl sethostname setdomainname
""")
"""Nobody calls these by mistake."""

ABSENT = ["clone3"]
"""Said to be unknown (ENOSYS), so that the C library takes the older call, whose flags a filter can read."""
