// SPDX-License-Identifier: GPL-2.0
/*
 * What path.sh needs: short TCP connections, one after the other, with as little as
 * possible besides; and a clock that stands still while the machine is idle.
 *
 *   path serve ADDRESS PORT         until it is killed
 *   path ask ADDRESS PORT COUNT     each: connects, asks, is answered, sees the end
 *   path idle                       takes the time that no other program wants
 *   path clock PID                  nanoseconds that it did not get, of all
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define QUESTION 64
#define ANSWER 512

static struct sockaddr_in name_of(const char *address, const char *port)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };

	if (inet_pton(AF_INET, address, &name.sin_addr) != 1)
		errx(1, "no address: %s", address);
	return name;
}

static int new_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		err(1, "socket");
	return fd;
}

/* Reads so many bytes, or up to the end; says how many there were. */
static size_t read_all(int fd, char *buffer, size_t size)
{
	size_t had = 0;

	while (had < size) {
		ssize_t got = read(fd, buffer + had, size - had);

		if (got < 0)
			err(1, "read");
		if (!got)
			break;
		had += got;
	}
	return had;
}

static void serve(struct sockaddr_in name)
{
	static const char answer[ANSWER];
	char question[QUESTION];
	int fd, listener = new_socket(), on = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (void *)&name, sizeof(name)) || listen(listener, 128))
		err(1, "listen");
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		if (read_all(fd, question, sizeof(question)) == sizeof(question) &&
		    write(fd, answer, sizeof(answer)) != sizeof(answer))
			err(1, "write");
		close(fd);
	}
	err(1, "accept");
}

static void ask(struct sockaddr_in name, long count)
{
	static const char question[QUESTION];
	char answer[ANSWER + 1];

	while (count-- > 0) {
		int fd = new_socket();

		if (connect(fd, (void *)&name, sizeof(name)))
			err(1, "connect");
		if (write(fd, question, sizeof(question)) != sizeof(question))
			err(1, "write");
		if (read_all(fd, answer, sizeof(answer)) != ANSWER)
			errx(1, "the answer is not whole");
		close(fd);
	}
}

static void idle(void)
{
	static const struct sched_param lowest;

	if (sched_setscheduler(0, SCHED_IDLE, &lowest))
		err(1, "sched_setscheduler");
	for (;;)
		asm volatile("");
}

static long long read_clock(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now))
		err(1, "clock_gettime");
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void tell_time(pid_t pid)
{
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock))
		errx(1, "no process %d", pid);
	printf("%lld\n", read_clock(CLOCK_MONOTONIC) - read_clock(clock));
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "serve"))
		serve(name_of(argv[2], argv[3]));
	else if (argc == 5 && !strcmp(argv[1], "ask"))
		ask(name_of(argv[2], argv[3]), atol(argv[4]));
	else if (argc == 2 && !strcmp(argv[1], "idle"))
		idle();
	else if (argc == 3 && !strcmp(argv[1], "clock"))
		tell_time(atoi(argv[2]));
	else
		errx(2, "serve ADDRESS PORT | ask ADDRESS PORT COUNT | idle | clock PID");
	return 0;
}
