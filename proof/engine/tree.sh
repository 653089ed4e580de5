# SPDX-License-Identifier: Apache-2.0
# tree TREE DIR SHARED COMMAND...: runs the command in the calling mount namespace with TREE's programs, which cannot be
# written, and this machine's kernel, devices, names, the engine's DIR and the directory SHARED, in which tests have
# their files. A root made of mounts leaves the tree as it is.
tree=$1 dir=$2 files=$3
shift 3
root=$dir/root
mkdir "$root"
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir -p "$root/usr" "$root/etc" "$root/proc" "$root/sys" "$root/dev" "$root/run/docker/plugins" "$root/var/tmp" "$root/tmp" "$root$files" "$root$dir"
for link in bin sbin lib lib64; do ln -s "usr/$link" "$root/$link"; done
for shared in usr etc; do
	mount --bind "$tree/$shared" "$root/$shared"
	mount -o remount,bind,ro "$root/$shared"
done
for system in proc sys dev; do mount --rbind "/$system" "$root/$system"; done
for name in hosts resolv.conf hostname; do
	if [ -e "/etc/$name" ] && [ -e "$root/etc/$name" ]; then mount --bind "/etc/$name" "$root/etc/$name"; fi
done
mkdir -p /run/docker/plugins
mount --bind /run/docker/plugins "$root/run/docker/plugins"
mount --bind "$files" "$root$files"
case $dir in "$files"/*) ;; *) mount --bind "$dir" "$root$dir" ;; esac
cd "$root"
pivot_root . .
umount -l .
cd /
exec "$@"
