package qupath.lib.objects

/** An annotation. */
class PathObject {
    UUID id
    Roi roi
    String name
    String pathClass
    Map metadata = [:]
    boolean isAnnotation = true

    UUID getID() { id }
    Roi getROI() { roi }
}
