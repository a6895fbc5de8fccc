package remote

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/avalhq/aval/api/keymanager/v1"
	"github.com/avalhq/aval/internal/problem"
)

// codeOf is what a kind of problem is to programs that know gRPC and not Aval.
var codeOf = map[problem.Kind]codes.Code{
	problem.Invalid: codes.InvalidArgument, problem.Unauthenticated: codes.Unauthenticated, problem.Forbidden: codes.PermissionDenied, problem.NotFound: codes.NotFound,
	problem.Conflict: codes.FailedPrecondition, problem.Gone: codes.NotFound, problem.Unprocessable: codes.FailedPrecondition, problem.TooMany: codes.ResourceExhausted,
	problem.Unavailable: codes.Unavailable,
}

func problemOf(err error) *pb.Problem {
	p := problem.From(err)
	return &pb.Problem{Kind: p.Kind.String(), Code: p.Code, Detail: p.Detail}
}

// refused is an error as a status with its problem among the details.
func refused(err error) error {
	if err == nil {
		return nil
	}
	code, known := codeOf[problem.KindOf(err)]
	if !known {
		code = codes.Internal
	}
	s := status.New(code, problem.From(err).Detail)
	if detailed, wrong := s.WithDetails(problemOf(err)); wrong == nil {
		s = detailed
	}
	return s.Err()
}

// understood is a problem as the other side meant it.
func understood(p *pb.Problem) error {
	for kind := problem.Internal; kind <= problem.Unavailable; kind++ {
		if kind.String() == p.GetKind() {
			return &problem.Error{Kind: kind, Code: p.GetCode(), Detail: p.GetDetail()}
		}
	}
	return &problem.Error{Kind: problem.Internal, Code: p.GetCode(), Detail: p.GetDetail()}
}

// failure is what an error of gRPC means. What has no problem with it comes from gRPC itself: no answer came.
func (c *Client) failure(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	for _, detail := range status.Convert(err).Details() {
		if p, is := detail.(*pb.Problem); is {
			return understood(p)
		}
	}
	if ended := ctx.Err(); ended != nil && errors.Is(ended, context.Canceled) {
		return ended
	}
	return problem.New(problem.Unavailable, "key-manager-unreachable", "the key-manager at %s does not answer (%s); start it, or correct key_manager.address", c.options.Address, status.Code(err))
}
