// Node's http, or with PROTOCOL=h2 its http2, stopped as its documentation says: close() ends idle
// connections and waits for the others; sessions of HTTP/2 are closed one by one.
import http from 'node:http';
import http2 from 'node:http2';

const GRACE = Number(process.env.GRACE_MS ?? 15000);
const { IDLE_MS, PROTOCOL } = process.env;

function answer(request, response) {
  const [route, first, second] = request.url.split('/').slice(1);
  switch (route) {
    case 'stream': {
      let left = Number(first);
      const timer = setInterval(() => {
        response.write('chunk\n');
        if (--left === 0) {
          clearInterval(timer);
          response.end();
        }
      }, Number(second));
      break;
    }
    case 'bytes': {
      let left = Number(first);
      const piece = Buffer.alloc(65536);
      response.setHeader('content-length', left);
      const write = () => {
        while (left > 0) {
          const size = Math.min(left, piece.length);
          left -= size;
          if (!response.write(piece.subarray(0, size))) return response.once('drain', write);
        }
        response.end();
      };
      write();
      break;
    }
    case 'full':
      response.end(Buffer.alloc(Number(first)));
      break;
    case 'echo':
      request.pipe(response);
      break;
    case 'reject':
      response.statusCode = 401;
      response.end();
      break;
    default:
      response.end('hello\n');
  }
}

const sessions = new Set();
let server;
if (PROTOCOL === 'h2') {
  server = http2.createServer(answer);
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => {});
  });
} else {
  server = http.createServer(IDLE_MS ? { keepAliveTimeout: Number(IDLE_MS) } : {}, answer);
  server.on('connect', (request, socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    socket.pipe(socket);
  });
}
server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
process.on('SIGTERM', () => {
  const grace = setTimeout(() => {
    server.closeAllConnections?.();
    for (const session of sessions) session.destroy();
  }, GRACE);
  server.close(() => {
    clearTimeout(grace);
    console.error('closed');
  });
  for (const session of sessions) session.close();
});
