"""The lab VM without Vagrant: build its disk, boot it in QEMU, run jobs in it, bring back what they left.

    python3 -m vm test          what `make vm-test` runs

      host                                              guest
      build_image.sh ──> disk.ext4 (kept in a cache) ──> boots from a throw-away overlay of it
      disks.pack     ──> job.tar    (virtio disk)    ──> guest/aifab-job unpacks it, starts guest/run
      disks.unpack   <── results.tar (virtio disk)   <── guest/run writes results/, then powers off

Standard library only: this runs before anything of aifab is set up on the machine.
"""
