// SPDX-License-Identifier: GPL-2.0
/*
 * Short TCP connections, one after the other, with as little as possible besides.
 *
 *   connections serve ADDRESS PORT         until it is killed
 *   connections ask ADDRESS PORT COUNT     each: connects, asks, is answered, sees the end
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

/* Reads so many octets, or up to the end; says how many there were. */
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

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "serve"))
		serve(name_of(argv[2], argv[3]));
	else if (argc == 5 && !strcmp(argv[1], "ask"))
		ask(name_of(argv[2], argv[3]), atol(argv[4]));
	else
		errx(2, "connections serve ADDRESS PORT | connections ask ADDRESS PORT COUNT");
	return 0;
}
