# The C interface of drywire: library, headers, pkg-config and CMake files.
#
#   make                       builds the library (cargo build --release)
#   make install PREFIX=/usr   installs it; DESTDIR stages, LIBDIR and INCLUDEDIR move the parts
#   make uninstall             removes what install put there
#   make header                makes include/drywire.h anew (cbindgen 0.29.4)
#   make check                 proves the interface, see ffi/check.sh
#   make wheel                 builds the Python package into target/wheels

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DESTDIR ?=
CARGO ?= cargo
CARGO_TARGET_DIR ?= target
PYTHON ?= python3
WHEELS ?= $(CARGO_TARGET_DIR)/wheels
INSTALL ?= install

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SOVERSION := $(basename $(VERSION))
BUILT := $(CARGO_TARGET_DIR)/release
HEADERS := include/drywire.h include/drywire.hpp include/drywire_guard.hpp
CMAKEDIR := $(LIBDIR)/cmake/drywire
PCDIR := $(LIBDIR)/pkgconfig
# What a static library of Rust needs on Linux; a test compares it with what rustc says.
PRIVATE_LIBS := -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
# Paths from the installed files back to the prefix, so that the tree can be moved.
FROM_PC := $(shell realpath -m --relative-to=$(PCDIR) $(PREFIX))
FROM_CMAKE := $(shell realpath -m --relative-to=$(CMAKEDIR) $(PREFIX))
REL_LIB := $(shell realpath -m --relative-to=$(PREFIX) $(LIBDIR))
REL_INCLUDE := $(shell realpath -m --relative-to=$(PREFIX) $(INCLUDEDIR))

FILL := sed -e 's|@VERSION@|$(VERSION)|g' -e 's|@SOVERSION@|$(SOVERSION)|g' \
	-e 's|@FROM_PC@|$(FROM_PC)|g' -e 's|@FROM_CMAKE@|$(FROM_CMAKE)|g' \
	-e 's|@LIB@|$(REL_LIB)|g' -e 's|@INCLUDE@|$(REL_INCLUDE)|g' \
	-e 's|@PRIVATE_LIBS@|$(PRIVATE_LIBS)|g'

.PHONY: all install uninstall header check wheel

all:
	$(CARGO) build --release -p drywire-ffi

install: all
	$(INSTALL) -d $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(PCDIR) $(DESTDIR)$(CMAKEDIR)
	$(INSTALL) -m 644 $(HEADERS) $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 644 $(BUILT)/libdrywire_ffi.a $(DESTDIR)$(LIBDIR)/libdrywire.a
	$(INSTALL) -m 755 $(BUILT)/libdrywire_ffi.so $(DESTDIR)$(LIBDIR)/libdrywire.so.$(VERSION)
	ln -sf libdrywire.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libdrywire.so.$(SOVERSION)
	ln -sf libdrywire.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libdrywire.so
	$(FILL) ffi/install/drywire.pc.in > $(DESTDIR)$(PCDIR)/drywire.pc
	$(FILL) ffi/install/drywireConfig.cmake.in > $(DESTDIR)$(CMAKEDIR)/drywireConfig.cmake
	$(FILL) ffi/install/drywireConfigVersion.cmake.in > $(DESTDIR)$(CMAKEDIR)/drywireConfigVersion.cmake

uninstall:
	rm -f $(HEADERS:include/%=$(DESTDIR)$(INCLUDEDIR)/%)
	rm -f $(DESTDIR)$(LIBDIR)/libdrywire.a $(DESTDIR)$(LIBDIR)/libdrywire.so
	rm -f $(DESTDIR)$(LIBDIR)/libdrywire.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libdrywire.so.$(VERSION)
	rm -f $(DESTDIR)$(PCDIR)/drywire.pc
	rm -rf $(DESTDIR)$(CMAKEDIR)

header:
	ffi/header.sh

check:
	ffi/check.sh

wheel: all
	DRYWIRE_LIB=$(abspath $(BUILT)/libdrywire_ffi.a) \
		$(PYTHON) -m pip wheel --no-deps --wheel-dir $(WHEELS) bindings/python
