// The server.

/** Ask for the link until it leads to a server; it is remembered until QuPath is closed. */
def connect(String command) {
    def key = "gigaslide ${command}".toString()
    def words = "Paste the link that gigaslide ${command} printed"
    def given = link ?: System.getProperty(key) ?: askText("${words}.")
    while (true) {
        def problem = "This is no link with a token, nor a folder with a .server.json"
        def file = new File(given, ".server.json")
        def url = file.exists() ? new JsonSlurper().parse(file, "UTF-8").url : given.trim()
        if (url ==~ "https?://.+/[?]token=.+") {
            def (address, token) = url.split("/[?]token=")
            server = [url: address, token: token]
            def answer = send("GET", "api/slides")
            System.setProperty(key, given)
            if (answer.statusCode() == 200) return
            System.clearProperty(key)
            problem = "This link is of an earlier start of the server"
        }
        given = askText("${problem}. ${words} last.")
    }
}

def send(method, path, body = BodyPublishers.noBody(), headers = [:], window = null) {
    def address = URI.create("${server.url}/${path}")
    def request = HttpRequest.newBuilder(address).method(method, body)
    def own = ["Authorization": "Bearer ${server.token}", "X-Gigaslide": "1"]
    (own + headers).each { name, text -> request.header(name, text.toString()) }
    def answer = client.sendAsync(request.build(), BodyHandlers.ofByteArray())
    try {
        while (!answer.isDone()) {
            if (window?.isCancelled) throw new InterruptedException()
            Thread.sleep(20)
        }
        return answer.get()
    } catch (ExecutionException error) {
        System.clearProperty("gigaslide serve")
        System.clearProperty("gigaslide view")
        fail("${server.url} does not answer (${error.getCause()}); check that the server runs, " +
            "and the tunnel to it")
    } finally {
        answer.cancel(true)
    }
}

def check(answer) {
    if (answer.statusCode() >= 400 && !(answer.statusCode() in [409, 410])) {
        fail(new JsonSlurper().parse(answer.body(), "UTF-8").error)
    }
    return answer
}

def readJson(answer) { new JsonSlurper().parse(answer.body(), "UTF-8") }

def getJson(path) { readJson(check(send("GET", path))) }

def postJson(path, content, headers = [:]) {
    def body = BodyPublishers.ofString(JsonOutput.toJson(content))
    return check(send("POST", path, body, ["Content-Type": "application/json"] + headers))
}

def encode(id) { URLEncoder.encode(id, "UTF-8").replace("+", "%20") }

/** Wait for the end of a job. The window's Cancel, or the editor's Kill, cancels it. */
def watch(String id, window) {
    try {
        while (true) {
            def job = getJson("api/jobs/${id}")
            if (job.state in ["done", "failed", "cancelled"]) return job
            def left = job.eta_s == null ? "" : "; ${job.eta_s.toInteger()} s left"
            window.show(job.state == "queued" ? "${job.before} jobs before this one" :
                "${(100 * job.fraction).toInteger()} %${left}", job.fraction)
            10.times { if (!window.isCancelled) Thread.sleep(100) }
            if (window.isCancelled) send("DELETE", "api/jobs/${id}")
        }
    } catch (InterruptedException stopped) {
        send("DELETE", "api/jobs/${id}")
        throw stopped
    }
}

/** Send the file of the open image; return the upload's id. */
def upload(window) {
    def file = new File(getCurrentServer().getURIs()[0].getPath())
    def ending = file.getName().toLowerCase().replaceFirst(/.*\./, "").replace("tiff", "tif")
    if (!file.isFile() || !(ending in formats)) {
        fail("the server does not have this slide, and it is no single file that could be sent; " +
            "start gigaslide serve with --cohort")
    }
    def size = file.length().intdiv(1000000)
    confirm("The server does not have this slide. Send its file, ${size} MB?")
    window.show("${file.getName()} is sent …", -1)
    def kind = ["Content-Type": "application/octet-stream"]
    def body = BodyPublishers.ofFile(file.toPath())
    return readJson(check(send("POST", "api/uploads?format=${ending}", body, kind, window))).upload
}
