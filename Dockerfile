# SPDX-License-Identifier: Apache-2.0
# `make build` first: the image holds nothing but the binary, and builds without a network.
FROM scratch
COPY build/docker-remote-write /docker-remote-write
ENTRYPOINT ["/docker-remote-write"]
CMD ["run"]
