"""A store in a bucket of Amazon S3, or of anything that speaks as it does: MinIO, Ceph, R2, B2, rclone."""
