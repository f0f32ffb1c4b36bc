/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A file in /proc that takes orders, one line each, and shows what came of them: what the modules
 * of this folder have in common. A module defines obey(), show() and room_to_show(); all three run
 * under a mutex.
 */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

/* Carries out an order; it ends with its newline. */
static int obey(const char *line);
static void show(struct seq_file *out);
/* Bytes that show() may need. */
static size_t room_to_show(void);

static DEFINE_MUTEX(orders);

static ssize_t take_order(struct file *file, const char __user *from, size_t len, loff_t *at)
{
	char line[80];
	int error;

	if (len >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, from, len))
		return -EFAULT;
	line[len] = 0;
	mutex_lock(&orders);
	error = obey(line);
	mutex_unlock(&orders);
	return error ?: len;
}

static int show_all(struct seq_file *out, void *unused)
{
	mutex_lock(&orders);
	show(out);
	mutex_unlock(&orders);
	return 0;
}

static int open_proc(struct inode *inode, struct file *file)
{
	size_t room;

	mutex_lock(&orders);
	room = room_to_show();
	mutex_unlock(&orders);
	return single_open_size(file, show_all, NULL, room);
}

static const struct proc_ops operations = {
	.proc_open = open_proc,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = take_order,
};
