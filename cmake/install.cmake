# What `make install` puts where: libraries, headers, pkg-config files, a CMake
# package, the binary, the recipes and the man page.
include(CMakePackageConfigHelpers)
# The static libaccrue_io is used through pkg-config --static; its formats are
# not CMake packages everywhere.
install(TARGETS accrue_io ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
set_target_properties(accrue_shared PROPERTIES EXPORT_NAME accrue)
set_target_properties(accrue PROPERTIES EXPORT_NAME accrue_static)
set_target_properties(accrue_io_shared PROPERTIES EXPORT_NAME accrue_io)
install(TARGETS accrue accrue_shared accrue_io_shared EXPORT accrue
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/accrue DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/accrue)
install(EXPORT accrue NAMESPACE accrue:: FILE accrue-targets.cmake DESTINATION ${package_folder})
configure_package_config_file(cmake/accrue-config.cmake.in accrue-config.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(accrue-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/accrue-config.cmake ${PROJECT_BINARY_DIR}/accrue-config-version.cmake
  DESTINATION ${package_folder})

# The pkg-config files name the prefix by their own place, so that the tree can be moved.
file(RELATIVE_PATH acr_up ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
foreach(name accrue accrue_io)
  configure_file(cmake/${name}.pc.in ${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

install(TARGETS accrue_cli DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY recipes/ DESTINATION ${CMAKE_INSTALL_DATADIR}/accrue/recipes FILES_MATCHING PATTERN "*.yaml")

find_program(SCDOC scdoc)
if(SCDOC)
  add_custom_command(OUTPUT accrue.1
    COMMAND sh -c "${SCDOC} < ${PROJECT_SOURCE_DIR}/docs/accrue.1.scd > accrue.1"
    DEPENDS docs/accrue.1.scd VERBATIM)
  add_custom_target(man ALL DEPENDS accrue.1)
  install(FILES ${PROJECT_BINARY_DIR}/accrue.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
